"""Keeps who changed what, and thresholds that were changed while running."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cogmeter_storage.alerting import AuditEntry
from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


def subject(rule: str, service: str, operation: str = "") -> str:
    """What a change was about: ``rule@service/operation``, ``rule@service``, ``rule``, ``*@service`` or ``*``."""
    return (rule or "*") + (f"@{service}" if service else "") + (f"/{operation}" if operation else "")


def add(raw: sqlite3.Connection, entry: AuditEntry) -> AuditEntry:
    """Write an entry within the caller's transaction; returns it with its id."""
    added = raw.execute(
        "INSERT INTO audit (at_us, actor, action, subject, value_before, value_after) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.at_us, entry.actor, entry.action, entry.subject, entry.before, entry.after),
    )
    return dataclasses.replace(entry, id=added.lastrowid or 0)


def newest(raw: sqlite3.Connection, limit: int, offset: int) -> list[AuditEntry]:
    """See AlertStore.audit."""
    rows = raw.execute(
        f"SELECT at_us, actor, action, subject, value_before, value_after, id FROM audit WHERE {sound('audit')}"  # noqa: S608 - names of our columns
        " ORDER BY id DESC LIMIT ? OFFSET ?",
        (max(limit, 0), max(offset, 0)),
    )
    return [AuditEntry(*row) for row in rows]


def overrides(raw: sqlite3.Connection) -> dict[str, str]:
    """See AlertStore.overrides."""
    find = f"SELECT name, value FROM threshold_override WHERE {sound('threshold_override')} ORDER BY name"  # noqa: S608 - names of our columns
    return dict(raw.execute(find).fetchall())


def override(raw: sqlite3.Connection, values: Mapping[str, str | None], now_us: int, actor: str) -> list[AuditEntry]:
    """See AlertStore.override; one transaction."""
    with transaction(raw):
        before = overrides(raw)
        changed = [name for name, value in values.items() if before.get(name) != value]
        for name in changed:
            _set(raw, name, values[name], now_us, actor)
        return [add(raw, _entry(name, before.get(name), values[name], now_us, actor)) for name in changed]


def _set(raw: sqlite3.Connection, name: str, value: str | None, now_us: int, actor: str) -> None:
    if value is None:
        raw.execute("DELETE FROM threshold_override WHERE name = ?", (name,))
    else:
        raw.execute(
            "INSERT OR REPLACE INTO threshold_override (name, value, at_us, actor) VALUES (?, ?, ?, ?)",
            (name, value, now_us, actor),
        )


def _entry(name: str, before: str | None, after: str | None, now_us: int, actor: str) -> AuditEntry:
    action = "threshold reset" if after is None else "threshold set"
    return AuditEntry(now_us, actor, action, name, before or "", after or "")
