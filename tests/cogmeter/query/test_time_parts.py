"""How the time of a run is divided: the share of a step is a share of its part."""

from hypothesis import given
from hypothesis import strategies as st

from cogmeter.query.time_parts import TimePart, part_of, slowest_step, time_share
from cogmeter_storage.model import Outcome, SpanRecord

SERVICES = ("http.api", "db.x", "web", "answers", "discord.rest", "discord.stalls")


@st.composite
def runs(draw):
    duration_us = draw(st.integers(1, 1_000))
    count = draw(st.integers(0, 8))
    spans = [
        SpanRecord(
            number,
            draw(st.integers(0, number - 1)),
            draw(st.sampled_from(SERVICES)),
            draw(st.sampled_from("ab")),
            draw(st.integers(-50, 1_100)),
            draw(st.integers(0, 1_200)),
            Outcome.OK,
        )
        for number in range(1, count + 1)
    ]
    return duration_us, spans


@given(runs())
def test_a_step_is_never_longer_than_its_part(run):
    duration_us, spans = run
    parts = time_share(duration_us, spans).parts
    for part in TimePart:
        found = slowest_step(duration_us, spans, part)
        assert found is None or 0 <= found[1] <= round(parts[part])
        if part is not TimePart.OWN:
            assert (found is None) == (parts[part] == 0)


@given(runs())
def test_one_operation_alone_has_all_of_its_part(run):
    duration_us, spans = run
    for part in TimePart:
        of_part = {(span.service, span.operation) for span in spans if part_of(span.service) is part}
        found = slowest_step(duration_us, spans, part)
        if len(of_part) == 1 and found is not None and part is not TimePart.OWN:
            assert abs(found[1] - time_share(duration_us, spans).parts[part]) <= 1
