"""What a server refuses is named, with the next step, and without the password."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from postgres_server import PROGRAMS, Server, server

from cogmeter_storage import open_store
from cogmeter_storage.base import AccessRefusedError


@pytest.fixture(scope="module")
def strict() -> Iterator[Server | None]:
    """A server that asks one user for a password, and does not accept another."""
    if not PROGRAMS:
        yield None
        return
    with server() as running:
        with psycopg.connect(running.url("postgres"), autocommit=True) as raw:
            raw.execute("CREATE USER bot PASSWORD 'right'")
            raw.execute("CREATE USER stranger PASSWORD 'right'")
            rules = running.data / "pg_hba.conf"
            rules.write_text(
                "host all stranger all reject\nhost all bot all scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
            )
            raw.execute("SELECT pg_reload_conf()")
        yield running


@pytest.mark.parametrize(
    ("user", "database", "options", "meaning", "fix"),
    [
        ("bot:wr0ng", "postgres", "", "the server refuses the password", "check user and password"),
        ("bot", "postgres", "", "the server refuses the password", "check user and password"),
        ("unknown:wr0ng", "postgres", "", "the server does not know the user", "CREATE USER"),
        ("postgres", "none_such", "", "the database does not exist", "CREATE DATABASE"),
        ("stranger:wr0ng", "postgres", "", "does not accept this user from this machine", "pg_hba.conf"),
        ("postgres", "postgres", "?sslmode=require", "cannot be checked by its TLS certificate", "sslmode"),
    ],
    ids=["wrong-password", "no-password", "no-user", "no-database", "not-accepted", "no-tls"],
)
async def test_a_refusal_is_named_with_the_next_step(needed, strict, user, database, options, meaning, fix):
    needed(strict, "PostgreSQL")
    url = f"postgresql://{user}@127.0.0.1:{strict.port}/{database}{options}"
    with pytest.raises(AccessRefusedError) as caught:
        await open_store(url)
    text = str(caught.value)
    assert text.startswith(f"Database 127.0.0.1:{strict.port}/{database}: ")
    assert meaning in text
    assert fix in text.partition("To fix it: ")[2]
    assert "wr0ng" not in text
    assert not caught.value.permanent
