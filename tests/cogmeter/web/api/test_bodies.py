"""Long answers are written entry by entry, and are the same JSON."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from pydantic import Field

from cogmeter.recording.background import paced
from cogmeter.schemas.base import Number, Schema
from cogmeter.schemas.times import Instant
from cogmeter.web.api.bodies import LONG, VALUES, json_body


class Entry(Schema):
    name_of: str
    share: Number | None


class Whole(Schema):
    first_at: Instant | None
    by_name: dict[str, Entry] = Field(description="by name")
    in_order: list[Entry]
    plain_numbers: list[int]
    moments: list[Instant | None]
    colon_text: str = 'a:"b"}'


def whole(entries):
    made = [Entry(name_of=f'"{number}"\n\u2028:', share=number / 7 or None) for number in range(entries)]
    return Whole(
        first_at=datetime(2026, 1, 2, tzinfo=UTC),
        by_name={one.name_of: one for one in made},
        in_order=made,
        plain_numbers=list(range(entries)),
        moments=[
            datetime(2026, 1, 2, 3, 4, number % 60, tzinfo=UTC) if number % 3 else None for number in range(entries)
        ],
    )


@pytest.mark.parametrize("entries", [0, 1, LONG, LONG + 1, VALUES, VALUES + 1, 1_000])
async def test_an_answer_is_the_json_that_its_model_says(entries):
    answer = whole(entries)
    expected = json.loads(answer.model_dump_json(by_alias=True))
    written = await json_body(answer)
    assert json.loads(written) == expected
    assert list(json.loads(written)) == ["firstAt", "byName", "inOrder", "plainNumbers", "moments", "colonText"]


async def test_other_work_runs_while_a_long_answer_is_written(monkeypatch):
    monkeypatch.setattr("cogmeter.recording.background.PIECE_S", 0.0)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await json_body(whole(LONG + 1))
    counting.cancel()
    assert turns >= 2 * LONG


async def test_paced_work_yields_every_item_in_order():
    assert [one async for one in paced(range(5))] == [0, 1, 2, 3, 4]
    assert [one async for one in paced([])] == []
