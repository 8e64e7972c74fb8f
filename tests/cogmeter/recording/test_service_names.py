"""The names of services: which of them run in the background."""

import pytest

from cogmeter.recording import service_names
from cogmeter.recording.service_names import in_background


@pytest.mark.parametrize("service", [service_names.REST, service_names.TASKS, "http.api.openai.com", "db.postgresql"])
def test_hooks_and_called_services_are_background_services(service):
    assert in_background(service)


@pytest.mark.parametrize("service", [service_names.COMMANDS, service_names.COMPONENTS, "database", "httpx", "dbx.a"])
def test_commands_and_services_of_own_code_are_not(service):
    assert not in_background(service)


def test_every_prefix_of_a_called_service_ends_at_a_dot():
    assert all(prefix.endswith(".") for prefix in service_names.DEPENDENCIES)
