"""The lease of the leader: one row, by the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter_storage.lease import LEASE_S, Lease

if TYPE_CHECKING:
    from cogmeter_storage.postgres.session import PostgresSession

LEADER: Final = "leader"
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# One statement: two processes never both get it. A run that has the lease keeps its token.
_LEAD: Final = f"""
    WITH taken AS (
        INSERT INTO lease (name, run, token, until_us) VALUES (?1, ?2, 1, {_NOW} + ?3)
        ON CONFLICT (name) DO UPDATE SET run = excluded.run, until_us = {_NOW} + ?3,
            token = CASE WHEN lease.run = excluded.run THEN lease.token ELSE lease.token + 1 END
        WHERE lease.run = excluded.run OR lease.until_us <= {_NOW}
        RETURNING token
    )
    SELECT token, ?3 FROM taken
    UNION ALL SELECT NULL, until_us - {_NOW} FROM lease WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM taken)
"""  # noqa: S608 - the constant above


def lead(session: PostgresSession, run: int) -> Lease:
    """Implement Store.lead for a run."""
    row = session.execute(_LEAD, (LEADER, run, int(LEASE_S * 1e6))).fetchone()
    if row is None:  # the row was inserted by another process after this statement had begun
        return Lease(leads=False, left_s=LEASE_S)
    token, left_us = row
    return Lease(token is not None, max(left_us, 0) / 1e6, token)


def resign(session: PostgresSession, run: int) -> None:
    """Implement Store.resign for a run."""
    session.execute("UPDATE lease SET until_us = 0 WHERE name = ? AND run = ?", (LEADER, run))
