"""Database URLs: which open a store, and how the others are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cogmeter_storage import StorageError, open_store
from cogmeter_storage.factory import is_written, sqlite_path


def test_three_slashes_name_a_relative_path_and_four_an_absolute_one():
    assert sqlite_path("sqlite:///data/performance.db") == Path("data/performance.db")
    assert sqlite_path("sqlite:////var/lib/bot/p.db") == Path("/var/lib/bot/p.db")


@pytest.mark.parametrize(
    "url",
    ["", "data/p.db", "sqlite://data/p.db", "sqlite:///", "sqlite:///data/", "sqlite:///:memory:", "mysql://u:geheim@h/d",
     "sqlite:///p.db?mode=ro"],
)  # fmt: skip
async def test_another_url_is_refused_with_the_form_expected_and_without_its_password(url):
    with pytest.raises(StorageError, match=r"sqlite:///data/performance\.db") as caught:
        await open_store(url)
    assert caught.value.permanent
    assert "PERFORMANCE_DATABASE_URL" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:geheim@127.0.0.1:1/d", "postgres://u:geheim@localhost:1/d"])
async def test_a_server_that_cannot_be_reached_is_named_without_its_password(url):
    with pytest.raises(StorageError, match=r":1/d cannot be reached .* PERFORMANCE_DATABASE_URL") as caught:
        await open_store(url)
    assert not caught.value.permanent
    assert "geheim" not in str(caught.value)


async def test_a_wrong_postgresql_url_is_refused_without_its_password():
    with pytest.raises(StorageError, match="postgresql://user:password@host:5432/database") as caught:
        await open_store("postgresql://u:geheim@h/d?no_such_setting=1")
    assert caught.value.permanent
    assert "geheim" not in str(caught.value)


async def test_an_empty_file_is_no_database_of_an_earlier_version(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(StorageError, match="is empty: no bot has written to it yet"):
        await open_store(f"sqlite:///{path}", read_only=True)


async def test_it_is_known_whether_a_bot_has_a_database_open(tmp_path):
    path = tmp_path / "performance.db"
    assert not is_written(path)
    assert not list(tmp_path.iterdir())
    store = await open_store(f"sqlite:///{path}")
    assert is_written(path)
    await store.close()
    assert not is_written(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only an administrator can write for others")
async def test_a_lock_that_an_administrator_makes_belongs_to_the_databases_owner(tmp_path):
    path = tmp_path / "performance.db"
    await (await open_store(f"sqlite:///{path}")).close()
    os.chown(path, 65_534, 65_534)
    path.with_name("performance.db.lock").unlink()
    store = await open_store(f"sqlite:///{path}")
    await store.close()
    assert path.with_name("performance.db.lock").stat().st_uid == 65_534
