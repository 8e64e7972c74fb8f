"""The plan of a range: the coarsest sealed slots in the middle, finer ones at both ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Tier
from cogmeter_storage.plan import Extent, Piece, plan

SPAN = 5 * DAY_US
STEPS = st.sampled_from([None, MINUTE_US, 7 * MINUTE_US, 15 * MINUTE_US, HOUR_US, 2 * HOUR_US, DAY_US])


@st.composite
def kept_tiers(draw):
    """Generate the extents that folds and clean-ups leave: coarser tiers begin no later and end no later."""
    start = draw(st.integers(0, SPAN // MINUTE_US)) * MINUTE_US
    end = start + draw(st.integers(1, SPAN // MINUTE_US)) * MINUTE_US
    kept = {Tier.MINUTE: Extent(start, end)}
    if draw(st.booleans()):
        hours = Extent(start // HOUR_US * HOUR_US, -(-end // HOUR_US) * HOUR_US - draw(st.integers(0, 3)) * HOUR_US)
        if hours.until_us > hours.first_us:
            kept[Tier.HOUR] = hours
            day = Extent(hours.first_us // DAY_US * DAY_US, hours.until_us // DAY_US * DAY_US)
            if day.until_us > day.first_us:
                kept[Tier.DAY] = day
    for finer, coarser in ((Tier.MINUTE, Tier.HOUR), (Tier.HOUR, Tier.DAY)):
        if coarser in kept and draw(st.booleans()):
            cut = draw(
                st.integers(kept[coarser].first_us // coarser.width_us, kept[coarser].until_us // coarser.width_us)
            )
            first = max(cut * coarser.width_us, kept[finer].first_us)
            kept[finer] = Extent(first, kept[finer].until_us)
            if first >= kept[finer].until_us:
                del kept[finer]
    return kept


@given(kept_tiers(), st.integers(0, 2 * SPAN), st.integers(0, SPAN), STEPS)
def test_the_pieces_cover_the_range_exactly_and_in_order(kept, since_us, length_us, step_us):
    made = plan(since_us, since_us + length_us, kept, step_us=step_us)
    assert made.since_us <= since_us
    assert made.until_us >= since_us + length_us or length_us == 0
    at = made.since_us
    for piece in made.pieces:
        assert piece.since_us == at < piece.until_us
        assert piece.since_us % piece.tier.width_us == piece.until_us % piece.tier.width_us == 0
        at = piece.until_us
    assert at == made.until_us


@given(kept_tiers(), st.integers(0, 2 * SPAN), st.integers(1, SPAN))
def test_no_piece_lies_where_its_tier_is_not_folded_yet(kept, since_us, length_us):
    for piece in plan(since_us, since_us + length_us, kept).pieces:
        if piece.tier is not Tier.MINUTE:
            assert piece.until_us <= kept[piece.tier].until_us


@given(kept_tiers(), st.integers(0, 2 * SPAN), st.integers(1, SPAN), STEPS)
def test_no_piece_reads_a_finer_tier_where_only_a_coarser_one_has_data(kept, since_us, length_us, step_us):
    for piece in plan(since_us, since_us + length_us, kept, step_us=step_us).pieces:
        for tier in range(piece.tier, Tier.DAY):
            finer, coarser = Tier(tier), Tier(tier + 1)
            if coarser in kept and piece.tier <= finer:
                width = coarser.width_us
                gone_until = kept[finer].first_us // width * width if finer in kept else kept[coarser].until_us
                assert piece.since_us >= gone_until or kept[coarser].first_us >= gone_until


def test_the_coarsest_tier_is_in_the_middle_and_finer_ones_at_both_ends():
    kept = {tier: Extent(0, 3 * DAY_US) for tier in Tier}
    since_us, until_us = 23 * HOUR_US - MINUTE_US, 2 * DAY_US + HOUR_US + 1
    assert plan(since_us, until_us, kept).pieces == (
        Piece(Tier.MINUTE, since_us, 23 * HOUR_US),
        Piece(Tier.HOUR, 23 * HOUR_US, DAY_US),
        Piece(Tier.DAY, DAY_US, 2 * DAY_US),
        Piece(Tier.HOUR, 2 * DAY_US, 2 * DAY_US + HOUR_US),
        Piece(Tier.MINUTE, 2 * DAY_US + HOUR_US, 2 * DAY_US + HOUR_US + MINUTE_US),
    )


def test_with_bins_no_slot_straddles_two_of_them():
    kept = {tier: Extent(0, 3 * DAY_US) for tier in Tier}
    tiers = {piece.tier for piece in plan(0, DAY_US, kept, step_us=2 * HOUR_US).pieces}
    assert tiers == {Tier.HOUR}
    tiers = {piece.tier for piece in plan(MINUTE_US, DAY_US, kept, step_us=2 * HOUR_US).pieces}
    assert tiers == {Tier.MINUTE}


def test_where_the_minutes_are_gone_the_hour_replaces_the_whole():
    kept = {Tier.MINUTE: Extent(5 * HOUR_US, 6 * HOUR_US), Tier.HOUR: Extent(HOUR_US, 6 * HOUR_US)}
    made = plan(2 * HOUR_US + 7 * MINUTE_US, 4 * HOUR_US + 7 * MINUTE_US, kept, step_us=15 * MINUTE_US)
    assert made.pieces == (Piece(Tier.HOUR, 2 * HOUR_US, 5 * HOUR_US),)
    assert (made.since_us, made.until_us) == (2 * HOUR_US, 5 * HOUR_US)
