"""PostgreSQL's errors as StorageError: what they mean for the owner of the bot, and the next step."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors

from cogmeter_storage.base import AccessRefusedError, StorageError


def storage_error(error: psycopg.Error, name: str) -> StorageError:
    """Return the StorageError for an error of psycopg; ``name`` is the server and database, without a password."""
    reason = " ".join(str(error).split())
    for kind, (meaning, fix, permanent) in _MEANINGS.items():
        if isinstance(error, kind):
            return StorageError(f"Database {name}: {meaning} ({reason}). To fix it: {fix}.", permanent=permanent)
    if isinstance(error, psycopg.OperationalError):
        for pattern, (meaning, fix) in _REFUSALS.items():
            if pattern.search(reason):
                return AccessRefusedError(f"Database {name}: {meaning} ({reason}). To fix it: {fix}.")
        return StorageError(
            f"Database {name} cannot be reached ({reason}). To fix it: start the server, or check host, port and"
            " network in PERFORMANCE_DATABASE_URL.",
            permanent=False,
        )
    return StorageError(
        f"Database {name}: PostgreSQL reports an error ({reason}). To fix it: see the log of the server.",
        permanent=True,
    )


# By exception: the meaning, the next step, and whether it is permanent.
_MEANINGS: Final[dict[type[Exception], tuple[str, str, bool]]] = {
    errors.DiskFull: ("its disk is full", "free some space; writing then continues", False),
    errors.ReadOnlySqlTransaction: (
        "the server is a standby, which cannot be written",
        "add target_session_attrs=read-write to PERFORMANCE_DATABASE_URL, with all servers",
        False,
    ),
    errors.InsufficientPrivilege: (
        "the user may not do this",
        "make the user the owner of the schema cogmeter, or let it create one",
        True,
    ),
    errors.SerializationFailure: ("another process changed the same rows", "nothing: it is tried again", False),
    errors.DeadlockDetected: ("another process waited for the same rows", "nothing: it is tried again", False),
    errors.IdleInTransactionSessionTimeout: (
        "this process was paused in the middle of a change",
        "nothing: it is tried again",
        False,
    ),
    errors.LockNotAvailable: ("another program has a lock on it", "end that program's transaction", False),
    errors.QueryCanceled: ("a query took too long", "see the log of the server", False),
}
# libpq gives no error code for a connection that is refused, only the text of the server or of PgBouncer.
_REFUSALS: Final[dict[re.Pattern[str], tuple[str, str]]] = {
    re.compile(r"password authentication failed|no password supplied|SASL authentication failed"): (
        "the server refuses the password",
        "check user and password in PERFORMANCE_DATABASE_URL",
    ),
    re.compile(r'role "[^"]*" does not exist|no such user'): (
        "the server does not know the user",
        "check the user in PERFORMANCE_DATABASE_URL, or create it: CREATE USER",
    ),
    re.compile(r'database "[^"]*" does not exist|no such database'): (
        "the database does not exist",
        "check its name in PERFORMANCE_DATABASE_URL, or create it: CREATE DATABASE",
    ),
    re.compile(r"no pg_hba\.conf entry|pg_hba\.conf rejects"): (
        "the server does not accept this user from this machine",
        "add a line to the server's pg_hba.conf",
    ),
    re.compile(r"certificate|does not support SSL"): (
        "the server cannot be checked by its TLS certificate",
        "check sslmode and sslrootcert in PERFORMANCE_DATABASE_URL",
    ),
}
