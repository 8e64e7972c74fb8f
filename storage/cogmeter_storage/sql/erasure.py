"""Erases the data that identifies one person from texts, metadata and the small tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.model import Erased
from cogmeter_storage.sql.costs import forget_user

if TYPE_CHECKING:
    from cogmeter_storage.model import Person
    from cogmeter_storage.sql.session import Session

ERASED: Final = "(forgotten)"
_KEYS: Final = {"threshold_override": "name"}  # of tables without an id
# Texts that may contain the user id, and display names of actors.
_TEXT_COLUMNS: Final = {
    "trace": ("error", "spans"),
    "alert": ("message", "acknowledged_by"),
    "alert_change": ("message", "actor", "note"),
    "attempt": ("error",),
    "mute": ("actor", "reason"),
    "audit": ("actor", "subject", "value_before", "value_after"),
    "threshold_override": ("actor", "value"),
    "marker": ("name",),
    "error_group": ("message", "resolved_by"),
    "error_example": ("chain",),
}
_NAME_COLUMNS: Final = (
    ("alert", "acknowledged_by"),
    ("alert_change", "actor"),
    ("mute", "actor"),
    ("audit", "actor"),
    ("threshold_override", "actor"),
    ("error_group", "resolved_by"),
)

_ERASE_HASH: Final = {
    "error_person": "DELETE FROM error_person WHERE hash = ?",
    "error_example": 'UPDATE error_example SET "user" = NULL WHERE "user" = ?',
}
_KINDS: Final = {  # the fields of Erased
    "trace": "traces",
    **dict.fromkeys(("error_group", "error_example", "error_person"), "errors"),
    **dict.fromkeys(("alert", "alert_change", "attempt", "mute"), "alerts"),
}


def erased(operations: int, small: Counter[str]) -> Erased:
    """Return the numbers of changed rows: of operations, and those of erase_from_small_tables()."""
    kinds: Counter[str] = Counter()
    for table, rows in small.items():
        kinds[_KINDS.get(table, "others")] += rows
    return Erased(operations, **kinds)


def erase_from_metadata(person: Person, user_id: re.Pattern[str], text: Any) -> str | None:
    """Return the metadata without the person; exactly the same text if nothing changes."""
    if text is None:
        return None
    try:
        members = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return replace_in_text(user_id, text)
    name, value = person.metadata_entry
    erased = members
    if isinstance(members, dict) and members.get(name) == value:
        erased = {key: member for key, member in members.items() if key != name}
    erased = _replace_in_json(erased, user_id)
    return text if erased == members else json.dumps(erased)


def _replace_in_json(value: Any, user_id: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {replace_in_text(user_id, key): _replace_in_json(item, user_id) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_in_json(item, user_id) for item in value]
    if isinstance(value, str):
        return replace_in_text(user_id, value)
    return ERASED if isinstance(value, int) and user_id.fullmatch(str(value)) else value


def erase_from_small_tables(raw: Session, person: Person, *, column_apart: str) -> Counter[str]:
    """Erase from the small tables in one transaction; return the number of changed rows by table.

    ``column_apart`` is the column of the tables ``damage`` and ``set_apart`` that has the moved rows.
    """
    user_id, changed = id_pattern(person), Counter[str]()
    with raw.transaction():
        for table, columns in _TEXT_COLUMNS.items():
            for column in columns:
                changed[table] += _replace_in_column(raw, table, column, user_id, person.user_id)
        for table, statement in _ERASE_HASH.items():
            changed[table] += raw.execute(statement, (person.metadata_entry[1],)).rowcount
        if person.metadata_entry[0] == "user":
            changed["cost"] += forget_user(raw, person.metadata_entry[1])
        # Rows that were moved to these tables cannot be searched column by column.
        searched = [person.user_id, person.metadata_entry[1], *([person.display_name] if person.display_name else [])]
        found = " OR ".join([raw.contains(column_apart)] * len(searched))
        for table in ("damage", "set_apart"):
            changed[table] += raw.execute(f"DELETE FROM {table} WHERE {found}", searched).rowcount  # noqa: S608 - names of our tables
        for table, column in _NAME_COLUMNS if person.display_name else ():
            update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - names of our tables
            changed[table] += raw.execute(update, (ERASED, person.display_name)).rowcount
    return changed


def _replace_in_column(raw: Session, table: str, column: str, user_id: re.Pattern[str], searched: str) -> int:
    key = _KEYS.get(table, "id")
    select = f"SELECT {key}, {column} FROM {table} WHERE {raw.contains(column)}"  # noqa: S608 - names of our tables
    update = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608 - names of our tables
    rows = [
        (replace_in_text(user_id, text), text, number) for number, text in raw.execute(select, (searched,)).fetchall()
    ]
    return sum(raw.execute(update, (new, number)).rowcount for new, old, number in rows if new != old)


def replace_in_text(user_id: re.Pattern[str], text: object) -> str | None:
    """Return the text without the user id; a value of a damaged row becomes a text."""
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return user_id.sub(ERASED, str(text))


def id_pattern(person: Person) -> re.Pattern[str]:
    """Return the pattern of the user id, where it is not part of a longer number."""
    return re.compile(rf"(?<![0-9]){re.escape(person.user_id)}(?![0-9])")
