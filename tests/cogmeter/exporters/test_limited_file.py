"""An export within a limit of bytes: plain, compressed, or refused; memory and disk stay small."""

import gzip
import random

import pytest

from cogmeter.exporters.limited_file import MARGIN, ExportTooLargeError, write_limited

LIMIT = MARGIN + 10_000


async def chunks(count, size=1_000, *, numbers=None):
    for _ in range(count):
        yield bytes(size) if numbers is None else numbers.randbytes(size)


async def test_a_small_export_is_written_as_it_is(tmp_path):
    path = await write_limited(chunks(10), tmp_path / "a.csv", limit=LIMIT)
    assert path == tmp_path / "a.csv"
    assert path.read_bytes() == bytes(10_000)


async def test_a_larger_one_is_compressed_and_the_plain_file_removed(tmp_path):
    path = await write_limited(chunks(2_000), tmp_path / "a.csv", limit=LIMIT)
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv.gz"]
    assert path.stat().st_size <= LIMIT
    assert gzip.decompress(path.read_bytes()) == bytes(2_000_000)


async def test_one_that_is_too_large_compressed_is_refused_before_it_fills_the_disk(tmp_path):
    read = []

    async def counted():
        async for chunk in chunks(10_000, numbers=random.Random(1)):
            read.append(chunk)
            yield chunk

    with pytest.raises(ExportTooLargeError):
        await write_limited(counted(), tmp_path / "a.csv", limit=LIMIT)
    assert len(read) < 500
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < 10 * LIMIT


async def test_nothing_is_a_file_without_content(tmp_path):
    path = await write_limited(chunks(0), tmp_path / "a.csv", limit=LIMIT)
    assert path.read_bytes() == b""


async def test_an_error_of_the_source_closes_the_file(tmp_path):
    async def broken():
        yield b"a"
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await write_limited(broken(), tmp_path / "a.csv", limit=LIMIT)
