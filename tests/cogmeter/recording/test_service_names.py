"""The names of services: which of them run in the background, and the labels of their operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording import service_names
from cogmeter.recording.service_names import (
    BY_OPERATION,
    COMMANDS,
    COMPONENTS,
    REPLIES,
    in_background,
    label,
    labels,
    meanings,
)


@pytest.mark.parametrize("service", [service_names.REST, service_names.TASKS, "http.api.openai.com", "db.postgresql"])
def test_hooks_and_called_services_are_background_services(service):
    assert in_background(service)


@pytest.mark.parametrize("service", [service_names.COMMANDS, service_names.COMPONENTS, "database", "httpx", "dbx.a"])
def test_commands_and_services_of_own_code_are_not(service):
    assert not in_background(service)


def test_every_prefix_of_a_called_service_ends_at_a_dot():
    assert all(prefix.endswith(".") for prefix in service_names.DEPENDENCIES)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("ask", "/ask"),
        ("config set colour", "/config set colour"),
        ("8ball", "/8ball"),
        ("回答", "/回答"),
        ("Report message", "command Report message"),
        ("(unknown)", "command (unknown)"),
    ],
)
def test_a_command_has_the_label_that_is_typed_unless_its_name_cannot_be_a_slash_commands(operation, expected):
    assert label(COMMANDS, operation) == expected


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("Shop.buy", "button Shop.buy"),
        ("vote:{}:yes", "button vote:{}:yes"),
        ("Shop.open_modal", "button Shop.open_modal"),
        ("Shop.OpenFormButton", "button Shop.OpenFormButton"),
        ("Shop.ColourSelect", "select Shop.ColourSelect"),
        ("Shop.select_callback", "select Shop.select_callback"),
        ("OrderModal", "form OrderModal"),
        ("Shop.FeedbackForm", "form Shop.FeedbackForm"),
        ("(other)", "button (other)"),
    ],
)
def test_a_component_is_a_button_unless_its_name_says_select_or_form(operation, expected):
    assert label(COMPONENTS, operation) == expected


def test_a_reply_is_named_by_its_listener_without_the_event():
    assert label(REPLIES, "on_message") == "reply on_message"
    assert label(REPLIES, "on_message Chat.listen") == "reply Chat.listen"


def test_an_operation_of_any_other_service_is_named_with_its_service():
    assert label("knowledge-graph", "query") == "knowledge-graph / query"


def test_services_that_are_ranked_by_operation_run_in_the_foreground():
    assert not any(in_background(service) for service in BY_OPERATION)


NAMES = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs")), min_size=1, max_size=100).map(str.strip).filter(bool)
)


@given(st.sampled_from(sorted(BY_OPERATION)), NAMES)
def test_a_label_means_its_operation(service, operation):
    assert (service, operation) in list(meanings(f" {label(service, operation)} "))


@given(st.sampled_from(sorted(BY_OPERATION)), NAMES)
def test_a_name_without_the_first_word_of_its_label_means_its_operation(service, operation):
    assert (service, operation) in list(meanings(operation))


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("/ask", (COMMANDS, "ask")),
        ("/Ask", (COMMANDS, "Ask")),
        ("ask", (COMMANDS, "ask")),
        ("button Shop.buy", (COMPONENTS, "Shop.buy")),
        ("reply Chat.listen", (REPLIES, "Chat.listen")),
        ("knowledge-graph / query", ("knowledge-graph", "query")),
    ],
)
def test_the_likeliest_meaning_comes_first(typed, first):
    assert next(meanings(typed)) == first


def test_a_command_is_meant_in_any_case():
    assert (COMMANDS, "ask") in list(meanings("/ASK"))
    assert (COMMANDS, "ask") in list(meanings("Ask"))


def test_labels_are_those_of_the_ranked_services_alone():
    names = {COMMANDS: ["help", "ask"], COMPONENTS: ["Shop.buy"], "knowledge-graph": ["query"]}
    assert labels(names) == ["/ask", "/help", "button Shop.buy"]
