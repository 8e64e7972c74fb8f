"""A hook checks itself, counts its faults, and takes itself out only while it is on top."""

import pytest

from cogmeter.watch.hook import Hook, HookState


class Library:
    """What is hooked."""

    def greet(self, name):
        return f"hello {name}"


def shouting(original, hook):
    def greet(*args):
        said = original(*args)
        return said.upper() if hook.active else said

    return greet


def test_an_instance_gets_its_own_and_gives_it_back():
    library = Library()
    hook = Hook("greetings", library, "greet", shouting, expects=["name"])
    assert hook.install()
    assert library.greet("you") == "HELLO YOU"
    hook.remove()
    assert vars(library) == {}
    assert (library.greet("you"), hook.state) == ("hello you", HookState.OFF)


def test_a_class_gets_back_exactly_what_it_had():
    before = vars(Library)["greet"]
    hook = Hook("greetings", Library, "greet", shouting, expects=["name"])
    hook.install()
    assert Library().greet("you") == "HELLO YOU"
    hook.remove()
    assert vars(Library)["greet"] is before


def test_an_entry_of_a_dictionary_gets_back_exactly_what_it_had():
    table = {"GREET": Library().greet}
    before = dict(table)
    hook = Hook("greetings", table, "GREET", shouting, expects=["name"])
    hook.install()
    assert table["GREET"]("you") == "HELLO YOU"
    hook.remove()
    assert table == before


def test_below_anothers_wrapper_it_only_passes_on():
    library = Library()
    hook = Hook("greetings", library, "greet", shouting)
    hook.install()
    ours = library.greet
    library.greet = lambda name: f"{ours(name)}!"
    hook.remove()
    assert hook.state is HookState.BURIED
    assert library.greet("you") == "hello you!"
    library.greet = ours  # the other one leaves; ours stays where it lay
    again = Hook("greetings", library, "greet", shouting, expects=["name"])
    again.install()
    assert library.greet("you") == "HELLO YOU"
    again.remove()
    assert library.greet("you") == "hello you"


@pytest.mark.parametrize(
    ("attribute", "expects", "reason"),
    [
        ("greet", ["name", "loudly"], "it takes (name), expected (name, loudly)"),
        ("gone", ["name"], "AttributeError"),
        ("number", None, "it is a int, not a function"),
    ],
)
def test_an_unexpected_library_is_left_alone_and_reported(attribute, expects, reason, caplog):
    library = Library()
    library.number = 5
    before = dict(vars(library))
    hook = Hook("greetings", library, attribute, shouting, expects=expects)
    assert not hook.install()
    assert hook.state is HookState.FAILED
    assert reason in hook.reason
    assert "Cannot watch greetings" in caplog.text
    hook.remove()
    assert vars(library) == before


def test_faults_are_counted_and_the_first_is_logged_with_its_trace(caplog):
    hook = Hook("greetings", Library(), "greet", shouting)
    for _ in range(3):
        hook.fault(ValueError("ours"))
    assert hook.faults == 3
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].exc_info[1].args == ("ours",)


def test_a_hundred_installations_leave_nothing():
    library = Library()
    for _ in range(100):
        hook = Hook("greetings", library, "greet", shouting)
        hook.install()
        hook.remove()
    assert vars(library) == {}
