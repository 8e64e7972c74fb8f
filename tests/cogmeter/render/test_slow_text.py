"""Sentences about slow runs: causes, honest gaps, notes."""

from cogmeter.query.slow import SlowRun, TimeProfile
from cogmeter.query.slow_patterns import PATTERNS, Evidence, PatternMatch
from cogmeter.query.time_parts import TimePart, time_share
from cogmeter.render.slow_text import (
    cause,
    cause_text,
    note_lines,
    part_lines,
    profile_text,
    run_lines,
    unexplained_text,
)
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord


def run(duration_us, *spans, traced=True, left_out=0, patterns=()):
    trace = TraceRecord(0, "discord.commands", "ask", duration_us, Outcome.OK, None, left_out, spans)
    return SlowRun(trace, spans, traced, time_share(duration_us, spans), None, patterns)


def span(number, service, start_us, duration_us, parent=0):
    return SpanRecord(number, parent, service, "x", start_us, duration_us, Outcome.OK)


def test_a_cause_names_what_and_how_long_and_the_usual_time_where_it_is_unusual():
    upstream = PATTERNS["slow_upstream"]
    match = PatternMatch(upstream, Evidence("POST api.example.com", 4_200_000, 1, 350_000.0))
    assert cause_text(match) == "POST api.example.com took 4.2 s (usually 350 ms)."
    usual = PatternMatch(upstream, Evidence("POST api.example.com", 4_200_000, 1, 4_000_000.0))
    assert cause_text(usual) == "POST api.example.com took 4.2 s."
    assert run_lines(run(5_000_000, patterns=(match,))) == [f"{cause_text(match)} {upstream.advice}"]


def test_braces_in_names_are_only_text_and_long_names_are_cut():
    assert cause("rate_limit", "PUT /channels/{channel_id}", 1_000_000, 1).startswith(
        "PUT /channels/{channel_id} waited 1 s"
    )
    assert len(cause("slow_upstream", "x" * 500, 1_000_000, 1)) < 120


def test_a_pattern_of_a_newer_version_is_shown_as_it_is():
    assert cause("new_pattern", "GET /x", 1, 1) == "new_pattern: GET /x."


def test_own_code_that_nothing_covers_is_not_broken_down():
    assert unexplained_text(run(2_100_000)).startswith(
        "Own code 2.1 s, not broken down: nothing was recorded inside it."
    )
    assert unexplained_text(run(2_100_000, traced=False)).startswith("Where the 2.1 s went is not known: no trace")


def test_time_that_is_known_without_a_pattern_says_where_most_of_it_is():
    text = unexplained_text(run(900_000, span(1, "http.x", 0, 700_000)))
    assert text == "Most of the time is other hosts: 700 ms, all of it in http.x / x. No known pattern was found."


def test_the_step_with_most_of_the_time_is_named_without_the_steps_inside_it():
    spans = [span(1, "answers", 0, 10_000_000), span(2, "web", 1_000_000, 4_000_000, parent=1)]
    spans += [span(3, "web", 5_000_000, 3_000_000, parent=1), span(4, "db.x", 5_500_000, 1_000_000, parent=3)]
    text = unexplained_text(run(10_000_000, *spans))
    assert text == "Most of the time is own code: 9 s, 6 s of it in web / x. No known pattern was found."


def test_steps_at_the_same_time_are_no_longer_than_their_part():
    spans = [span(number, "http.x", 1_000_000, 8_000_000) for number in range(1, 6)]
    text = unexplained_text(run(20_000_000, *spans, span(7, "web", 9_000_000, 11_000_000)))
    assert text == "Most of the time is own code: 12 s, 11 s of it in web / x. No known pattern was found."
    text = unexplained_text(
        run(20_000_000, *spans, span(7, "db.x", 9_000_000, 7_000_000), span(8, "web", 0, 20_000_000))
    )
    assert text == "The largest part is other hosts: 8 s, all of it in http.x / x. No known pattern was found."


def test_notes_name_parts_that_are_missing_outlast_the_run_or_have_lost_their_step():
    notes = note_lines(run(1_000, span(1, "http.x", 900, 9_000), span(2, "db.x", 0, 10, parent=77), left_out=12))
    assert notes == [
        "12 more parts beyond the first 100 not stored.",
        "1 part ended after the run: its time outside of it is not counted.",
        "The step around 1 part was not recorded.",
    ]
    assert note_lines(run(1_000, span(1, "http.x", 0, 1_000))) == []


def test_a_part_that_is_shorter_than_its_calls_says_why():
    blocked = run(67_000_000, span(1, "http.x", 0, 67_000_000), span(2, "discord.stalls", 0, 1_100_000))
    assert part_lines(blocked.time.parts)[0][1].startswith("other hosts 1 min 6 s")
    (note,) = note_lines(blocked)
    assert note.startswith("For 1.1 s, calls of several kinds ran at once, or the event loop was blocked during one. ")
    assert note_lines(run(67_000_000, span(1, "http.x", 0, 67_000_000), span(2, "discord.stalls", 0, 1_000))) == []


def test_parts_are_listed_by_time_without_those_that_do_not_matter():
    parts = dict.fromkeys(TimePart, 0.0) | {TimePart.OWN: 1_000.0, TimePart.HOST: 3_000.0, TimePart.REST: 1.0}
    assert [text for _, text in part_lines(parts)] == ["other hosts 3 ms (75%)", "own code 1 ms (25%)"]
    assert part_lines(dict.fromkeys(TimePart, 0.0)) == []


def test_a_profile_states_its_runs():
    parts = dict.fromkeys(TimePart, 0.0)
    assert profile_text(TimeProfile(1_000, 14_312, True, *(parts,) * 5)).startswith(
        "the slowest 1,000 traced runs of 14,312 runs"
    )


def test_several_blocks_are_a_sum_and_say_so():
    assert cause("blocking", "time.sleep", 6_300_000, 3) == "time.sleep blocked the event loop for 6.3 s in total."
    assert cause("blocking", "time.sleep", 6_300_000, 1) == "time.sleep blocked the event loop for 6.3 s."
