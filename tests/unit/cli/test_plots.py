"""Plots show what they are given."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli import plots
from chipwatt.core.records import PowerHistogram
from unit.cli.test_tally import window

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=160)


@given(COUNTS, st.integers(-4, 6), st.integers(-50, 600), st.integers(1, 20))
def test_joined_buckets_keep_the_time_and_touch(
    counts: list[int], scale: int, offset: int, rows: int
) -> None:
    offset = offset if scale > 0 else offset // 100
    bins = plots.bins(PowerHistogram(scale, offset, 0, tuple(counts)), rows)
    assert len(bins) <= rows
    assert sum(time_ms for _, _, time_ms in bins) == sum(counts)
    for (_, high, _), (low, _, _) in pairwise(bins):
        assert high == low


def test_histogram_as_text() -> None:
    text = plots.over_power(PowerHistogram(0, 6, 500, (1000, 0, 500)), 60)
    lines = text.splitlines()
    assert [line.split("%")[0].split()[-1] for line in lines] == ["25.0", "50.0", "0.0", "25.0"]
    assert "64.0 W to 128 W" in lines[1]
    assert lines[1].count("█") == 2 * lines[3].count("█")


def test_a_rare_power_is_still_seen() -> None:
    text = plots.over_power(PowerHistogram(0, 6, 0, (1_000_000, 1)), 60)
    assert text.splitlines()[1].endswith("▏")


def test_time_runs_to_the_left_of_now() -> None:
    windows = [window(index, 100_000 + 1_000 * index) for index in range(20)]
    text = plots.over_time(windows, 70, colour=False)
    assert "mean" in text
    assert "minutes before the newest window" in text
    assert "\x1b" not in text
    assert all(len(line) <= 70 for line in text.splitlines())


def test_without_plotext_there_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    windows = [window(index, 100_000 + 1_000 * index) for index in range(20)]
    text = plots.over_time(windows, 70, colour=False)
    assert "▁" in text
    assert "chipwatt[cli]" in text


def test_nothing_known_is_said() -> None:
    assert plots.over_time([], 70, colour=False) == "no power is known for this time"
    assert "no time" in plots.over_power(PowerHistogram(), 70)
