"""The errors of the simulated bot with their place: those of the past, and those of live traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.recording.error_batches import fingerprint
from cogmeter.recording.service_names import COMMANDS, TASKS
from cogmeter_bot.demo.past import DEPLOYS
from cogmeter_bot.demo.profiles import PROFILES, person_hashes, random_live_user, user_of_failure
from cogmeter_bot.demo.traces import DURATION, END
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    from cogmeter_bot.demo.history import GeneratedHistory
    from cogmeter_bot.demo.profiles import Profile

VERSION: Final = "1.4"  # the running one
FIRST_VERSION: Final = "1.1"  # before the first of DEPLOYS
LOGGED_PER_DAY: Final = 9.0
LOST_PER_DAY: Final = 1.5

# The file and line of each service's errors. Errors of other services have no stack.
_PLACES: Final = {
    "core-intelligence": ("services/answers.py", 64),
    "sentiment-analysis": ("services/sentiment.py", 31),
    "context-memory": ("services/memory.py", 47),
    "knowledge-graph": ("services/graph.py", 72),
    "multimodal-processing": ("services/images.py", 53),
    "web-crawling": ("services/web.py", 88),
    "discord.commands": ("cogs/chat.py", 40),
    "discord.tasks": ("cogs/chores.py", 22),
}
ASKED: Final = ("discord.commands", "ask")  # the command that logs errors
_CALLERS: Final = {
    COMMANDS: Frame("discord/app_commands/commands.py", "Command._do_call", 858, own=False),
    TASKS: Frame("discord/ext/tasks/__init__.py", "Loop._loop", 246, own=False),
}
_ANSWER: Final = Frame("cogs/chat.py", "Chat.ask", 61, own=True)
_ASK: Final = Frame("services/answers.py", "Answers.ask", 71, own=True)
_REQUEST: Final = Frame("openai/_base_client.py", "AsyncAPIClient.request", 1500, own=False)
_TRANSPORT: Final = Frame("httpx/_transports/default.py", "map_httpcore_exceptions", 118, own=False)
_LOGGED: Final = (
    ErrorLink("openai.APITimeoutError", "Request timed out.", (_ANSWER, _ASK, _REQUEST)),
    ErrorLink("httpx.ReadTimeout", "", (_TRANSPORT,)),
)
_LOST: Final = (ErrorLink("KeyError", "'title'", (Frame("cogs/chat.py", "Chat.index_memory", 88, own=True),)),)


def past_errors(history: GeneratedHistory, until_us: int, days: float, seed: int) -> list[ErrorBatch]:
    """Return the errors of the failed operations of a history, some logged errors, and some of lost tasks.

    An error that an operation inside a command raised is counted once, there. Those that ended no operation happened
    during one: a run of the command whose error they are.
    """
    rng = np.random.default_rng(seed + 4)
    own = history.table[history.raised_in == history.table[:, 0]]
    series, end, _, outcome, error, _ = own.T
    batches: list[ErrorBatch] = []
    for number, profile in enumerate(PROFILES):
        failed = (series == number) & np.isin(outcome, FAILURES)
        for place, text in enumerate(history.errors):
            times = end[failed & (error == place)]
            if text is not None and len(times) and profile.service in _PLACES:
                for version, some in _by_version(times, until_us):
                    batches.append(_failed(profile, text, some, _past_people(some), version))
    for kind, chain, names, per_day in (
        (ErrorKind.LOGGED, _LOGGED, ASKED, LOGGED_PER_DAY),
        (ErrorKind.UNHANDLED, _LOST, ("discord.commands", "remember"), LOST_PER_DAY),
    ):
        runs = own[(series == history.names.index(names)) & (outcome == Outcome.OK)]
        number = min(1 + rng.poisson(per_day * days), len(runs))
        chosen = runs[np.sort(rng.choice(len(runs), number, replace=False))]
        times = chosen[:, END] - chosen[:, DURATION] // 10  # shortly before the end of the run
        for version, some in _by_version(np.sort(times), until_us):
            batches.append(_batch(kind, chain, names, some, _past_people(some), version))
    return batches


def _past_people(times_us: list[int]) -> list[dict[str, str]]:
    return [person_hashes(user_of_failure(at_us)) for at_us in times_us]


def _by_version(times_us: NDArray[np.int64], until_us: int) -> Iterator[tuple[str, list[int]]]:
    """Yield the version of the bot at that time, and the times in it, oldest first."""
    starts = [until_us + int(hours * HOUR_US) for hours, _ in DEPLOYS]
    versions = [FIRST_VERSION, *(name.rpartition(" ")[2] for _, name in DEPLOYS)]
    for version, some in zip(versions, np.split(times_us, np.searchsorted(times_us, starts)), strict=True):
        if len(some):
            yield version, some.tolist()


def live_error(profile: Profile, text: str, at_us: int, person: dict[str, str]) -> ErrorBatch | None:
    """Return the error of one failed operation of this person; None if it has no stack."""
    return _failed(profile, text, [at_us], [person]) if profile.service in _PLACES else None


def error_group(names: tuple[str, str], text: str | None) -> str | None:
    """Return the fingerprint of an error with this text in an operation; None if it has no stack."""
    if text is None or names[0] not in _PLACES:
        return None
    kind, _, frame = _raised(names, text)
    return fingerprint(kind, frame, "")


def live_logged_error(at_us: int, rng: Generator) -> ErrorBatch:
    """Return one error that the bot caught and logged."""
    return _batch(ErrorKind.LOGGED, _LOGGED, ASKED, [at_us], [person_hashes(random_live_user(rng))])


def _failed(
    profile: Profile, text: str, times_us: list[int], people: list[dict[str, str]], version: str = VERSION
) -> ErrorBatch:
    names = profile.service, profile.operation
    kind, message, frame = _raised(names, text)
    # A stack begins where the operation begins: only a command and a loop are called by discord.py.
    caller = _CALLERS.get(profile.service)
    chain = (ErrorLink(kind, message, (frame,) if caller is None else (caller, frame)),)
    return _batch(ErrorKind.FAILED, chain, names, times_us, people, version)


def _raised(names: tuple[str, str], text: str) -> tuple[str, str, Frame]:
    """Return type, message and place of an error with this text in an operation of _PLACES."""
    file, line = _PLACES[names[0]]
    kind, _, message = text.partition(": ")
    return kind, message, Frame(file, names[1], line + len(kind) + 3 * len(names[1]), own=True)


def _batch(  # noqa: PLR0917 - all of them describe one group
    kind: ErrorKind,
    chain: tuple[ErrorLink, ...],
    names: tuple[str, str],
    times_us: list[int],
    people: list[dict[str, str]],  # of each error
    version: str = VERSION,
) -> ErrorBatch:
    days, numbers = np.unique(np.array(times_us) // DAY_US, return_counts=True)
    counts: Mapping[tuple[str, str, int], int] = {
        (*names, day): number for day, number in zip(days.tolist(), numbers.tolist(), strict=True)
    }
    if names[0] == TASKS:
        people = []  # a background loop has no users
    user = people[0]["user"] if people else None
    place = next(frame for frame in reversed(chain[0].frames) if frame.own)
    return ErrorBatch(
        fingerprint=fingerprint(chain[0].type, place, ""),
        kind=kind,
        type=chain[0].type,
        message=chain[0].message,
        place=place,
        first_us=times_us[0],
        last_us=times_us[-1],
        counts=counts,
        users=frozenset(one["user"] for one in people),
        guilds=frozenset(one["guild"] for one in people if "guild" in one),
        version=version,
        examples=tuple(ErrorExample(at_us, *names, user, version, chain) for at_us in times_us[-3:]),
    )
