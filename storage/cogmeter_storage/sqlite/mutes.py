"""Keeps mutes: what nobody wants to hear of, and until when."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cogmeter_storage.alerting import AuditEntry, Mute
from cogmeter_storage.sqlite import audit
from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

_SELECT = "SELECT service, rule, since_us, until_us, actor, reason, id FROM mute WHERE until_us > ?"


def add(raw: sqlite3.Connection, mute: Mute) -> Mute:
    """See AlertStore.add_mute; one transaction."""
    with transaction(raw):
        added = raw.execute(
            "INSERT INTO mute (service, rule, since_us, until_us, actor, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (mute.service, mute.rule, mute.since_us, mute.until_us, mute.actor, mute.reason),
        )
        subject = audit.subject(mute.rule, mute.service)
        audit.add(raw, AuditEntry(mute.since_us, mute.actor, "mute", subject, "", _told(mute)))
    return dataclasses.replace(mute, id=added.lastrowid or 0)


def holding(raw: sqlite3.Connection, now_us: int) -> list[Mute]:
    """See AlertStore.mutes."""
    return [Mute(*row) for row in raw.execute(f"{_SELECT} AND {sound('mute')} ORDER BY until_us, id", (now_us,))]


def end(raw: sqlite3.Connection, ids: Collection[int], now_us: int, actor: str) -> list[Mute]:
    """See AlertStore.end_mutes; one transaction."""
    with transaction(raw):
        ended = [one for one in holding(raw, now_us) if one.id in ids]
        for mute in ended:
            raw.execute("UPDATE mute SET until_us = ? WHERE id = ?", (now_us, mute.id))
            subject = audit.subject(mute.rule, mute.service)
            audit.add(raw, AuditEntry(now_us, actor, "unmute", subject, _told(mute), ""))
    return ended


def shift(raw: sqlite3.Connection, step_us: int, now_us: int) -> None:
    """See AlertStore.shift; one transaction."""
    with transaction(raw):
        raw.execute(
            "UPDATE mute SET since_us = since_us + ?1, until_us = until_us + ?1"  # noqa: S608 - names of our columns
            f" WHERE until_us > ?2 AND {sound('mute')}",
            (step_us, now_us - step_us),
        )
        raw.execute(
            f"UPDATE delivery SET due_us = due_us + ?1 WHERE state = 'waiting' AND {sound('delivery')}",  # noqa: S608 - names of our columns
            (step_us,),
        )


def _told(mute: Mute) -> str:
    until = datetime.fromtimestamp(mute.until_us / 1e6, UTC).strftime("until %Y-%m-%d %H:%M UTC")
    return f"{until}: {mute.reason}" if mute.reason else until
