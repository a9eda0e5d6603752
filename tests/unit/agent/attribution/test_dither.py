import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.attribution.dither import dithered, offset_of

OFFSETS = st.integers(0, 2**64 - 1)
WEIGHTS = st.lists(st.integers(0, 10**14), min_size=1, max_size=12).filter(any)


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 10**6), OFFSETS)
def test_parts_add_up_and_lie_next_to_their_share(
    weights: list[int], parts: int, offset: int
) -> None:
    shares = dithered(weights, parts, offset)
    total = sum(weights)
    assert sum(shares) == parts
    for weight, share in zip(weights, shares, strict=True):
        # One 2^-64th is lost to rounding the sums.
        assert abs(share * total - parts * weight) * 2**64 <= total * (2**64 + 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 8_000), min_size=8, max_size=8), OFFSETS, st.data())
def test_a_second_moves_each_sum_by_one_part_at_most(
    weights_ms: list[int], offset: int, data: st.DataObject
) -> None:
    # What epsilon of the noise at egress rests on: 1 s of a minute, moved anywhere.
    before = [*weights_ms[:-1], weights_ms[-1] + 60_000 - min(60_000, sum(weights_ms))]
    taken = [data.draw(st.integers(0, min(125, each))) for each in before]
    given_to = data.draw(st.permutations(taken))
    after = [b - t + g for b, t, g in zip(before, taken, given_to, strict=True)]
    one, other = dithered(before, 32, offset), dithered(after, 32, offset)
    moved = [sum(one[:k]) - sum(other[:k]) for k in range(8)]
    assert all(abs(each) <= 1 for each in moved)


def test_every_edge_is_as_likely_as_its_share() -> None:
    offsets = [offset_of(b"secret", minute * 60_000_000_000) for minute in range(2_000)]
    ones = sum(dithered([99, 1], 10, offset)[1] for offset in offsets)
    assert 140 < ones < 260  # a tenth of 2,000, within 4.5 standard deviations


def test_secrets_place_the_edges_differently() -> None:
    assert offset_of(b"one", 0) != offset_of(b"other", 0)


@pytest.mark.parametrize("weights", [[1, -1], [0, 0]])
def test_weights_that_are_none_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        dithered(weights, 32, 0)


def test_an_offset_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        dithered([1], 32, 1 << 64)
