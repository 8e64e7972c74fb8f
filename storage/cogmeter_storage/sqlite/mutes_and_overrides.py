"""SQL for mutes, overrides of thresholds and settings, and the audit log of their changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cogmeter_storage.alerting import SETTING_PREFIX, AuditEntry, Mute
from cogmeter_storage.sqlite.connection import transaction
from cogmeter_storage.sqlite.damage import format_time, sound_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

_SELECT_MUTES = "SELECT service, rule, since_us, until_us, actor, reason, id FROM mute WHERE until_us > ?"


def subject(rule: str, service: str, operation: str = "") -> str:
    """Return the subject of an audit entry.

    It is ``rule@service/operation``, ``rule@service``, ``rule``, ``*@service`` or ``*``.
    """
    return (rule or "*") + (f"@{service}" if service else "") + (f"/{operation}" if operation else "")


def add_entry(raw: sqlite3.Connection, entry: AuditEntry) -> AuditEntry:
    """Insert an audit entry in the caller's transaction; return it with its id."""
    added = raw.execute(
        "INSERT INTO audit (at_us, actor, action, subject, value_before, value_after) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.at_us, entry.actor, entry.action, entry.subject, entry.before, entry.after),
    )
    return dataclasses.replace(entry, id=added.lastrowid or 0)


def store_entry(raw: sqlite3.Connection, entry: AuditEntry) -> AuditEntry:
    """Implement AlertStore.add_audit; one transaction."""
    with transaction(raw):
        return add_entry(raw, entry)


def read_audit(raw: sqlite3.Connection, limit: int, offset: int) -> list[AuditEntry]:
    """Implement AlertStore.audit."""
    rows = raw.execute(
        f"SELECT at_us, actor, action, subject, value_before, value_after, id FROM audit WHERE {sound_rows('audit')}"  # noqa: S608 - names of our columns
        " ORDER BY id DESC LIMIT ? OFFSET ?",
        (max(limit, 0), max(offset, 0)),
    )
    return [AuditEntry(*row) for row in rows]


def read_overrides(raw: sqlite3.Connection) -> dict[str, str]:
    """Implement AlertStore.overrides."""
    find = f"SELECT name, value FROM threshold_override WHERE {sound_rows('threshold_override')} ORDER BY name"  # noqa: S608 - names of our columns
    return dict(raw.execute(find).fetchall())


def set_overrides(
    raw: sqlite3.Connection, values: Mapping[str, str | None], now_us: int, actor: str
) -> list[AuditEntry]:
    """Implement AlertStore.override; one transaction."""
    with transaction(raw):
        before = read_overrides(raw)
        changed = [name for name, value in values.items() if before.get(name) != value]
        for name in changed:
            _set_override(raw, name, values[name], now_us, actor)
        return [
            add_entry(raw, _override_entry(name, before.get(name), values[name], now_us, actor)) for name in changed
        ]


def _set_override(raw: sqlite3.Connection, name: str, value: str | None, now_us: int, actor: str) -> None:
    if value is None:
        raw.execute("DELETE FROM threshold_override WHERE name = ?", (name,))
    else:
        raw.execute(
            "INSERT OR REPLACE INTO threshold_override (name, value, at_us, actor) VALUES (?, ?, ?, ?)",
            (name, value, now_us, actor),
        )


def _override_entry(name: str, before: str | None, after: str | None, now_us: int, actor: str) -> AuditEntry:
    kind = "setting" if name.startswith(SETTING_PREFIX) else "threshold"
    action = f"{kind} reset" if after is None else f"{kind} set"
    return AuditEntry(now_us, actor, action, name, before or "", after or "")


def add_mute(raw: sqlite3.Connection, mute: Mute) -> Mute:
    """Implement AlertStore.add_mute; one transaction."""
    with transaction(raw):
        added = raw.execute(
            "INSERT INTO mute (service, rule, since_us, until_us, actor, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (mute.service, mute.rule, mute.since_us, mute.until_us, mute.actor, mute.reason),
        )
        audit_subject = subject(mute.rule, mute.service)
        add_entry(raw, AuditEntry(mute.since_us, mute.actor, "mute", audit_subject, "", _describe(mute)))
    return dataclasses.replace(mute, id=added.lastrowid or 0)


def read_mutes(raw: sqlite3.Connection, now_us: int) -> list[Mute]:
    """Implement AlertStore.mutes."""
    return [
        Mute(*row) for row in raw.execute(f"{_SELECT_MUTES} AND {sound_rows('mute')} ORDER BY until_us, id", (now_us,))
    ]


def end_mutes(raw: sqlite3.Connection, ids: Collection[int], now_us: int, actor: str) -> list[Mute]:
    """Implement AlertStore.end_mutes; one transaction."""
    with transaction(raw):
        ended = [mute for mute in read_mutes(raw, now_us) if mute.id in ids]
        for mute in ended:
            raw.execute("UPDATE mute SET until_us = ? WHERE id = ?", (now_us, mute.id))
            audit_subject = subject(mute.rule, mute.service)
            add_entry(raw, AuditEntry(now_us, actor, "unmute", audit_subject, _describe(mute), ""))
    return ended


def shift_times(raw: sqlite3.Connection, step_us: int, now_us: int) -> None:
    """Implement AlertStore.shift_times; one transaction."""
    with transaction(raw):
        raw.execute(
            "UPDATE mute SET since_us = since_us + ?1, until_us = until_us + ?1"  # noqa: S608 - names of our columns
            f" WHERE until_us > ?2 AND {sound_rows('mute')}",
            (step_us, now_us - step_us),
        )
        raw.execute(
            "UPDATE error_group SET muted_until_us = muted_until_us + ?1"  # noqa: S608 - names of our columns
            f" WHERE muted_until_us > ?2 AND {sound_rows('error_group')}",
            (step_us, now_us - step_us),
        )
        raw.execute(
            f"UPDATE delivery SET due_us = due_us + ?1 WHERE state = 'waiting' AND {sound_rows('delivery')}",  # noqa: S608 - names of our columns
            (step_us,),
        )


def _describe(mute: Mute) -> str:
    until = f"until {format_time(mute.until_us)}"
    return f"{until}: {mute.reason}" if mute.reason else until
