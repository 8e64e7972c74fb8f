"""SQL for mutes, overrides of thresholds and settings, and the audit log of their changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cogmeter_storage.alerting import SETTING_PREFIX, AuditEntry, Mute
from cogmeter_storage.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cogmeter_storage.sql.session import Session

_SELECT_MUTES = "SELECT service, rule, since_us, until_us, actor, reason, id FROM mute WHERE until_us > ?"


def subject(rule: str, service: str, operation: str = "") -> str:
    """Return the subject of an audit entry.

    It is ``rule@service/operation``, ``rule@service``, ``rule``, ``*@service`` or ``*``.
    """
    return (rule or "*") + (f"@{service}" if service else "") + (f"/{operation}" if operation else "")


def add_entry(raw: Session, entry: AuditEntry) -> AuditEntry:
    """Insert an audit entry in the caller's transaction; return it with its id."""
    (added,) = raw.execute(
        "INSERT INTO audit (at_us, actor, action, subject, value_before, value_after)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (entry.at_us, entry.actor, entry.action, entry.subject, entry.before, entry.after),
    ).fetchone()
    return dataclasses.replace(entry, id=added)


def store_entry(raw: Session, entry: AuditEntry) -> AuditEntry:
    """Implement AlertStore.add_audit; one transaction."""
    with raw.transaction("alerts"):
        return add_entry(raw, entry)


def read_audit(raw: Session, limit: int, offset: int) -> list[AuditEntry]:
    """Implement AlertStore.audit."""
    rows = raw.execute(
        "SELECT at_us, actor, action, subject, value_before, value_after, id FROM audit"  # noqa: S608 - names of our columns
        f" WHERE {raw.sound_rows('audit')} ORDER BY id DESC LIMIT ? OFFSET ?",
        (max(limit, 0), max(offset, 0)),
    )
    return [AuditEntry(*row) for row in rows]


def read_overrides(raw: Session) -> dict[str, str]:
    """Implement AlertStore.overrides."""
    find = f"SELECT name, value FROM threshold_override WHERE {raw.sound_rows('threshold_override')} ORDER BY name"  # noqa: S608 - names of our columns
    return dict(raw.execute(find).fetchall())


def set_overrides(raw: Session, values: Mapping[str, str | None], now_us: int, actor: str) -> list[AuditEntry]:
    """Implement AlertStore.override; one transaction."""
    with raw.transaction("alerts"):
        before = read_overrides(raw)
        changed = [name for name, value in values.items() if before.get(name) != value]
        for name in changed:
            _set_override(raw, name, values[name], now_us, actor)
        return [
            add_entry(raw, _override_entry(name, before.get(name), values[name], now_us, actor)) for name in changed
        ]


def _set_override(raw: Session, name: str, value: str | None, now_us: int, actor: str) -> None:
    if value is None:
        raw.execute("DELETE FROM threshold_override WHERE name = ?", (name,))
    else:
        raw.execute(
            "INSERT INTO threshold_override (name, value, at_us, actor) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET value = excluded.value, at_us = excluded.at_us, actor = excluded.actor",
            (name, value, now_us, actor),
        )


def _override_entry(name: str, before: str | None, after: str | None, now_us: int, actor: str) -> AuditEntry:
    kind = "setting" if name.startswith(SETTING_PREFIX) else "threshold"
    action = f"{kind} reset" if after is None else f"{kind} set"
    return AuditEntry(now_us, actor, action, name, before or "", after or "")


def add_mute(raw: Session, mute: Mute) -> Mute:
    """Implement AlertStore.add_mute; one transaction."""
    with raw.transaction("alerts"):
        (added,) = raw.execute(
            "INSERT INTO mute (service, rule, since_us, until_us, actor, reason)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            (mute.service, mute.rule, mute.since_us, mute.until_us, mute.actor, mute.reason),
        ).fetchone()
        audit_subject = subject(mute.rule, mute.service)
        add_entry(raw, AuditEntry(mute.since_us, mute.actor, "mute", audit_subject, "", _describe(mute)))
    return dataclasses.replace(mute, id=added)


def read_mutes(raw: Session, now_us: int) -> list[Mute]:
    """Implement AlertStore.mutes."""
    return [
        Mute(*row)
        for row in raw.execute(f"{_SELECT_MUTES} AND {raw.sound_rows('mute')} ORDER BY until_us, id", (now_us,))
    ]


def end_mutes(raw: Session, ids: Collection[int], now_us: int, actor: str) -> list[Mute]:
    """Implement AlertStore.end_mutes; one transaction."""
    with raw.transaction("alerts"):
        ended = [mute for mute in read_mutes(raw, now_us) if mute.id in ids]
        for mute in ended:
            raw.execute("UPDATE mute SET until_us = ? WHERE id = ?", (now_us, mute.id))
            audit_subject = subject(mute.rule, mute.service)
            add_entry(raw, AuditEntry(now_us, actor, "unmute", audit_subject, _describe(mute), ""))
    return ended


def shift_times(raw: Session, step_us: int, now_us: int) -> None:
    """Implement AlertStore.shift_times; one transaction."""
    with raw.transaction("alerts"):
        raw.execute(
            "UPDATE mute SET since_us = since_us + ?1, until_us = until_us + ?1"  # noqa: S608 - names of our columns
            f" WHERE until_us > ?2 AND {raw.sound_rows('mute')}",
            (step_us, now_us - step_us),
        )
        raw.execute(
            "UPDATE error_group SET muted_until_us = muted_until_us + ?1"  # noqa: S608 - names of our columns
            f" WHERE muted_until_us > ?2 AND {raw.sound_rows('error_group')}",
            (step_us, now_us - step_us),
        )
        raw.execute(
            f"UPDATE delivery SET due_us = due_us + ?1 WHERE state = 'waiting' AND {raw.sound_rows('delivery')}",  # noqa: S608 - names of our columns
            (step_us,),
        )


def _describe(mute: Mute) -> str:
    until = f"until {format_time(mute.until_us)}"
    return f"{until}: {mute.reason}" if mute.reason else until
