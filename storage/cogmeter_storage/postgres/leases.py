"""The lease of the leader: one row, by the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter_storage.lease import LEASE_S, Lease
from cogmeter_storage.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from cogmeter_storage.postgres.session import PostgresSession

LEADER: Final = "leader"
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# One statement, so two processes never both get it, and one that is paused has no transaction for which others wait.
# A run that has the lease keeps its token.
_LEAD: Final = f"""
    WITH taken AS (
        INSERT INTO {SCHEMA}.lease AS held (name, run, token, until_us)
        VALUES (%(name)s, %(run)s, 1, {_NOW} + %(length_us)s)
        ON CONFLICT (name) DO UPDATE SET run = excluded.run, until_us = {_NOW} + %(length_us)s,
            token = CASE WHEN held.run = excluded.run THEN held.token ELSE held.token + 1 END
        WHERE held.run = excluded.run OR held.until_us <= {_NOW}
        RETURNING token
    )
    SELECT token, %(length_us)s FROM taken
    UNION ALL
    SELECT NULL, until_us - {_NOW} FROM {SCHEMA}.lease WHERE name = %(name)s AND NOT EXISTS (SELECT 1 FROM taken)
"""  # noqa: S608 - the constants above


def lead(session: PostgresSession, run: int) -> Lease:
    """Implement Store.lead for a run."""
    values = {"name": LEADER, "run": run, "length_us": int(LEASE_S * 1e6)}
    row = session.connection.execute(_LEAD.encode(), values).fetchone()
    if row is None:  # the row was inserted by another process after this statement had begun
        return Lease(leads=False, left_s=LEASE_S)
    token, left_us = row
    return Lease(token is not None, max(left_us, 0) / 1e6, token)


def resign(session: PostgresSession, run: int) -> None:
    """Implement Store.resign for a run, also as a part of a transaction."""
    release = f"UPDATE {SCHEMA}.lease SET until_us = 0 WHERE name = %s AND run = %s"  # noqa: S608 - a constant
    session.connection.execute(release.encode(), (LEADER, run))
