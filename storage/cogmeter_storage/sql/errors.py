"""SQL for groups of errors, their counts by day, the people affected, and examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.alerting import AuditEntry
from cogmeter_storage.clock import format_time
from cogmeter_storage.errors import (
    MAX_EXAMPLES,
    MAX_PEOPLE,
    MAX_PLACES,
    ErrorChange,
    ErrorExample,
    ErrorGroup,
    ErrorKind,
    ErrorLink,
    Frame,
    UnknownErrorGroupError,
)
from cogmeter_storage.model import DAY_US
from cogmeter_storage.sql.mutes_and_overrides import add_entry
from cogmeter_storage.sql.session import marks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cogmeter_storage.errors import ErrorBatch
    from cogmeter_storage.model import BatchId
    from cogmeter_storage.sql.session import DamagedRows, Session

_DELETE_GROUPS: Final = 200  # each with up to 2,000 hashes of people
_DELETE_ROWS: Final = 5_000
_ALL_DAYS: Final = (-(2**62), 2**62)
_DETAILS: Final = ("error_count", "error_person", "error_example")
_PLACE: Final = ("file", "function", "line", "own")
_FIELDS: Final = (
    *("id", "fingerprint", "kind", "type", "message", "total", "first_us", "last_us", "first_version", "last_version"),
    *("resolved_us", "resolved_by", "reopened_us", "muted_until_us"),
)
_COLUMNS: Final = ", ".join(_FIELDS + _PLACE)
_INSERT: Final = (
    "INSERT INTO error_group (type, message, file, function, line, own, last_us, last_version, total, first_us,"
    " first_version, fingerprint, kind, resolved_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '') RETURNING id"
)
# The newest error names the group: the last_us of the statement's row is the one before.
_UPDATE_NEWEST: Final = (
    "UPDATE error_group SET type = ?, message = ?, file = ?, function = ?, line = ?, own = ?, last_us = ?,"
    " last_version = coalesce(?, last_version) WHERE id = ? AND last_us <= ?"
)
_UPDATE: Final = (
    "UPDATE error_group SET total = total + ?1, first_us = CASE WHEN first_us < ?2 THEN first_us ELSE ?2 END,"
    " first_version = coalesce(first_version, ?3)"
    " WHERE id = ?4"
)
_COUNT: Final = (
    "INSERT INTO error_count (error_group, day, service, operation, errors) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (error_group, day, service, operation) DO UPDATE SET errors = error_count.errors + excluded.errors"
)


def check_batches(batches: Sequence[ErrorBatch]) -> None:
    """Refuse batches that cannot be stored, before anything is.

    Raises:
        ValueError: a batch has no errors, a count below 1, or ends before it begins.
    """
    for batch in batches:
        if not batch.counts or min(batch.counts.values()) < 1:
            raise ValueError(f"error {batch.fingerprint}: each batch needs errors, and each count at least 1")
        if batch.first_us > batch.last_us:
            raise ValueError(f"error {batch.fingerprint}: first_us={batch.first_us} is after last_us={batch.last_us}")


def add_batches(raw: Session, batches: Sequence[ErrorBatch], claimed: BatchId | None = None) -> list[ErrorChange]:
    """Implement ErrorStore.add; one transaction."""
    changes: dict[int, bool] = {}
    with raw.transaction("errors"):
        if not raw.claim("errors", claimed):
            return []
        for batch in batches:
            number, change = _add_to_group(raw, batch)
            _add_details(raw, number, batch)
            if change is not None:
                changes.setdefault(number, change)
        return [ErrorChange(_group(raw, number), reopened) for number, reopened in changes.items()]


def _add_to_group(raw: Session, batch: ErrorBatch) -> tuple[int, bool | None]:
    """Count a batch in its group; return the group's id, and False if it is new, True if reopened, else None."""
    named = (_storable(batch.type), _storable(batch.message), *_place_columns(batch.place), batch.last_us)
    total = sum(batch.counts.values())
    known = _known_group(raw, batch)
    if known is None:
        others = (batch.version, total, batch.first_us, batch.version, batch.fingerprint, batch.kind.value)
        return raw.execute(_INSERT, (*named, *others)).fetchone()[0], False
    number, resolved_us = known
    raw.execute(_UPDATE_NEWEST, (*named, batch.version, number, batch.last_us))
    raw.execute(_UPDATE, (total, batch.first_us, batch.version, number))
    if resolved_us is None or batch.last_us <= resolved_us:
        return number, None
    at_us = batch.first_us if batch.first_us > resolved_us else batch.last_us
    raw.execute("UPDATE error_group SET resolved_us = NULL, reopened_us = ? WHERE id = ?", (at_us, number))
    return number, True


def _known_group(raw: Session, batch: ErrorBatch) -> tuple[int, int | None] | None:
    """Return id and resolution of the batch's group; a damaged group is moved away, and begins again."""
    find = (
        f"SELECT id, resolved_us, {raw.sound_rows('error_group')} FROM error_group WHERE fingerprint = ? AND kind = ?"  # noqa: S608 - names of our columns
    )
    row = raw.execute(find, (batch.fingerprint, batch.kind.value)).fetchone()
    if row is None:
        return None
    number, resolved_us, sound = row
    if sound:
        return number, resolved_us
    raw.move_damaged_rows("error_group", "id = ?", (number,))
    _delete_details(raw, [(number,)])
    return None


def _add_details(raw: Session, number: int, batch: ErrorBatch) -> None:
    counts = batch.counts.items()
    raw.executemany(_COUNT, [(number, day, service, name, errors) for (service, name, day), errors in counts])
    _add_people(raw, number, "user", batch.users)
    _add_people(raw, number, "guild", batch.guilds)
    if not batch.examples:
        return
    raw.executemany(
        'INSERT INTO error_example (error_group, at_us, service, operation, "user", version, chain)'
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(number, *_example_row(example)) for example in batch.examples[-MAX_EXAMPLES:]],
    )
    newest = "SELECT id FROM error_example WHERE error_group = ?1 ORDER BY at_us DESC, id DESC LIMIT ?2"
    raw.execute(
        f"DELETE FROM error_example WHERE error_group = ?1 AND id NOT IN ({newest})",  # noqa: S608 - the text above
        (number, MAX_EXAMPLES),
    )


def _add_people(raw: Session, number: int, kind: str, hashes: Collection[str]) -> None:
    """Store the hashes that the group does not have yet, up to the maximum."""
    if not hashes:
        return
    of_group = "FROM error_person WHERE error_group = ? AND kind = ?"
    (known,) = raw.execute(f"SELECT count(*) {of_group}", (number, kind)).fetchone()
    if known >= MAX_PEOPLE:
        return
    new = sorted(hashes)
    if known + len(new) > MAX_PEOPLE:
        stored = {value for (value,) in raw.execute(f"SELECT hash {of_group}", (number, kind))}
        new = [value for value in new if value not in stored][: MAX_PEOPLE - known]
    raw.executemany(
        "INSERT INTO error_person (error_group, kind, hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(number, kind, value) for value in new],
    )


def resolve(raw: Session, number: int, actor: str, now_us: int) -> ErrorGroup:
    """Implement ErrorStore.resolve; one transaction."""
    with raw.transaction("errors"):
        group = _group(raw, number)
        if group.resolved_us is not None:
            return group
        change = "UPDATE error_group SET resolved_us = ?, resolved_by = ? WHERE id = ?"
        raw.execute(change, (now_us, actor, number))
        add_entry(raw, AuditEntry(now_us, actor, "resolve error", _subject(group), "open", "resolved"))
        return _group(raw, number)


def mute(raw: Session, number: int, until_us: int | None, actor: str, now_us: int) -> ErrorGroup:
    """Implement ErrorStore.mute; one transaction."""
    with raw.transaction("errors"):
        group = _group(raw, number)
        if group.muted_until_us == until_us:
            return group
        raw.execute("UPDATE error_group SET muted_until_us = ? WHERE id = ?", (until_us, number))
        before, after = _until(group.muted_until_us, now_us), _until(until_us, now_us)
        if before or after:
            action = "mute error" if after else "unmute error"
            add_entry(raw, AuditEntry(now_us, actor, action, _subject(group), before, after))
        return _group(raw, number)


def _subject(group: ErrorGroup) -> str:
    return f"error {group.id} ({group.type})"


def _until(until_us: int | None, now_us: int) -> str:
    """Return the text of a mute that is active now; "" without one."""
    return "" if until_us is None or until_us <= now_us else f"until {format_time(until_us)}"


def read_groups(
    raw: Session,
    days: tuple[int, int],
    place: tuple[Sequence[str] | None, str | None],
    *,
    kinds: Sequence[ErrorKind],
    resolved: bool | None,
    limit: int,
    offset: int,
) -> list[ErrorGroup]:
    """Implement ErrorStore.groups; ``place`` has its services and its operation."""
    selected, values = _counts(raw, days, *place)
    state = {None: "", True: " AND resolved_us IS NOT NULL", False: " AND resolved_us IS NULL"}[resolved]
    statement = (
        f"SELECT {_COLUMNS} FROM error_group WHERE last_us >= ? AND kind IN ({marks(kinds)}){state}"  # noqa: S608 - names of our columns and question marks
        f" AND {raw.sound_rows('error_group')} AND EXISTS (SELECT 1 {selected} AND error_group = error_group.id)"
        " ORDER BY last_us DESC, id DESC LIMIT ? OFFSET ?"
    )
    page = max(limit, 0), max(offset, 0)  # a negative LIMIT means no limit
    with raw.snapshot():
        rows = raw.execute(statement, (days[0] * DAY_US, *kinds, *values, *page)).fetchall()
        return [_group_of(raw, row, days, *place) for row in rows]


def read_group(raw: Session, damage: DamagedRows, number: int) -> tuple[ErrorGroup, list[ErrorExample]] | None:
    """Implement ErrorStore.group."""
    with raw.snapshot():
        try:
            group = _group(raw, number)
        except UnknownErrorGroupError:
            return None
        rows = raw.execute(
            'SELECT at_us, service, operation, "user", version, chain, id FROM error_example'  # noqa: S608 - names of our columns
            f" WHERE error_group = ? AND {raw.sound_rows('error_example')} ORDER BY at_us DESC, id DESC LIMIT ?",
            (number, MAX_EXAMPLES),
        ).fetchall()
    return group, [example for row in rows if (example := _example_of(row, damage)) is not None]


def _group(raw: Session, number: int) -> ErrorGroup:
    """Return one group with all of its stored days.

    Raises:
        UnknownErrorGroupError: it does not exist, or is damaged.
    """
    find = f"SELECT {_COLUMNS} FROM error_group WHERE id = ? AND {raw.sound_rows('error_group')}"  # noqa: S608 - names of our columns
    row = raw.execute(find, (number,)).fetchone()
    if row is None:
        raise UnknownErrorGroupError(number)
    return _group_of(raw, row, _ALL_DAYS)


def _group_of(
    raw: Session,
    row: Sequence[Any],
    days: tuple[int, int],
    services: Sequence[str] | None = None,
    operation: str | None = None,
) -> ErrorGroup:
    """Return the record of a sound row of _COLUMNS, with its counts of these days, services and this operation."""
    stored: dict[str, Any] = dict(zip(_FIELDS, row, strict=False))
    stored["kind"] = ErrorKind(stored["kind"])
    file, function, line, own = row[len(_FIELDS) :]
    number = stored["id"]
    selected, values = _counts(raw, days, services, operation)
    values = (*values, number)
    selected += " AND error_group = ?"
    by_day = f"SELECT day, sum(errors) {selected} GROUP BY day ORDER BY day"
    by_place = (
        f"SELECT service, operation, sum(errors) {selected} GROUP BY service, operation"
        " ORDER BY sum(errors) DESC, service, operation LIMIT ?"
    )
    counted: list[tuple[int, int]] = raw.execute(by_day, values).fetchall()
    people = (
        f"SELECT count(*) FROM error_person WHERE error_group = ? AND kind = ? AND {raw.sound_rows('error_person')}"  # noqa: S608 - names of our columns
    )
    users, guilds = (raw.execute(people, (number, kind)).fetchone()[0] for kind in ("user", "guild"))
    return ErrorGroup(
        **stored,
        place=None if None in (file, function, line) else Frame(file, function, line, bool(own)),
        count=sum(errors for _, errors in counted),
        users=min(users, MAX_PEOPLE),
        guilds=min(guilds, MAX_PEOPLE),
        places=tuple(raw.execute(by_place, (*values, MAX_PLACES))),
        days=tuple(counted),
    )


def _counts(
    raw: Session, days: tuple[int, int], services: Sequence[str] | None, operation: str | None
) -> tuple[str, tuple[object, ...]]:
    """Return the query part that selects the sound counts of these days, services and operation, and its values."""
    selected = "FROM error_count WHERE day BETWEEN ? AND ?"
    values: tuple[object, ...] = days
    if services is not None:
        selected += f" AND service IN ({marks(services)})"
        values = (*values, *services)
    if operation is not None:
        selected += " AND operation = ?"
        values = (*values, operation)
    return f"{selected} AND {raw.sound_rows('error_count')}", values


def _example_row(example: ErrorExample) -> tuple[object, ...]:
    chain = [(link.type, link.message, link.frames) for link in example.chain]
    text = _storable(json.dumps(chain, ensure_ascii=False, separators=(",", ":")))
    return example.at_us, example.service, example.operation, example.user, example.version, text


def _example_of(row: Sequence[Any], damage: DamagedRows) -> ErrorExample | None:
    at_us, service, operation, user, version, text, number = row
    try:
        chain = tuple(_link_of(*link) for link in json.loads(text))
    except (TypeError, ValueError, RecursionError):
        damage.note_row("error_example", number, "its chain differs from the one that was written")
        return None
    return ErrorExample(at_us, service, operation, user, version, chain)


def _link_of(type_name: Any, message: Any, frames: Any) -> ErrorLink:
    link = ErrorLink(type_name, message, tuple(Frame(*frame) for frame in frames))
    if not isinstance(type_name, str) or not isinstance(message, str):
        raise TypeError("a text of the chain is not a text")
    for frame in link.frames:
        if tuple(map(type, frame)) != (str, str, int, bool):
            raise TypeError("a value of a frame has another type")
    return link


def _place_columns(place: Frame | None) -> tuple[object, ...]:
    if place is None:
        return (None,) * 4
    return _storable(place.file), _storable(place.function), place.line, place.own


def _storable(text: str) -> str:
    """Return the text without unpaired surrogates, such as those of a file name that is not UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def move_future_counts(raw: Session, ahead_us: int, now_us: int) -> None:
    """Add the counts of days after the one of ``ahead_us`` to the day of ``now_us``, in the caller's transaction."""
    later = f"FROM error_count WHERE day > ?1 AND {raw.sound_rows('error_count')}"
    raw.execute(
        "INSERT INTO error_count (error_group, day, service, operation, errors)"
        f" SELECT error_group, ?2, service, operation, sum(errors) {later} GROUP BY error_group, service, operation"
        " ON CONFLICT (error_group, day, service, operation)"
        " DO UPDATE SET errors = error_count.errors + excluded.errors",
        (ahead_us // DAY_US, now_us // DAY_US),
    )
    raw.execute(f"DELETE {later}", (ahead_us // DAY_US,))


def delete_old_groups(raw: Session, cut_us: int) -> int:
    """Delete a few groups whose last error was before the cut; return how many."""
    with raw.transaction("errors"):
        find = "SELECT id FROM error_group WHERE last_us < ? ORDER BY last_us LIMIT ?"
        rows = raw.execute(find, (cut_us, _DELETE_GROUPS)).fetchall()
        _delete_details(raw, rows)
        raw.executemany("DELETE FROM error_group WHERE id = ?", rows)
    return len(rows)


def delete_old_details(raw: Session, cut_us: int) -> int:
    """Delete a few counts and examples from before the cut of groups that are still kept; return how many."""
    groups = "error_group IN (SELECT id FROM error_group WHERE first_us < ?1)"
    key = "error_group, day, service, operation"
    days = f"SELECT {key} FROM error_count WHERE {groups} AND day < ?2 LIMIT ?3"  # noqa: S608 - names of our columns
    examples = f"SELECT id FROM error_example WHERE {groups} AND at_us < ?1 LIMIT ?2"  # noqa: S608 - names of our columns
    with raw.transaction("errors"):
        removed = raw.execute(
            f"DELETE FROM error_count WHERE ({key}) IN ({days})",  # noqa: S608 - the text above
            (cut_us, cut_us // DAY_US, _DELETE_ROWS),
        ).rowcount
        return (
            removed
            + raw.execute(
                f"DELETE FROM error_example WHERE id IN ({examples})",  # noqa: S608 - the text above
                (cut_us, _DELETE_ROWS),
            ).rowcount
        )


def delete_orphans(raw: Session) -> None:
    """Delete what belongs to no group, in the caller's transaction, after damaged groups were moved."""
    for table in _DETAILS:
        raw.execute(f"DELETE FROM {table} WHERE error_group NOT IN (SELECT id FROM error_group)")  # noqa: S608 - names of our tables


def _delete_details(raw: Session, rows: Sequence[tuple[int]]) -> None:
    for table in _DETAILS:
        raw.executemany(f"DELETE FROM {table} WHERE error_group = ?", rows)  # noqa: S608 - names of our tables
