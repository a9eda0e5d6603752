"""Plots of power for a terminal: over time with plotext, as a histogram with nothing but text."""

from __future__ import annotations

from collections.abc import Sequence

from chipwatt.cli.extras import optional
from chipwatt.cli.quantities import power_text, sparkline
from chipwatt.core.records import DeviceWindow, PowerHistogram

_BAR = "▏▎▍▌▋▊▉█"
_LINES = (("max", "dot"), ("mean", "braille"), ("min", "dot"))
_HEIGHT = 16
_SECOND = 10**9
_UNITS = ((86_400 * _SECOND, "days"), (3_600 * _SECOND, "hours"), (60 * _SECOND, "minutes"),
          (_SECOND, "seconds"))  # fmt: skip


def over_time(windows: Sequence[DeviceWindow], width: int, *, colour: bool) -> str:
    """Draw least, mean and greatest power of each window against time before the newest.

    Without plotext the means are drawn as one line of bars.
    """
    known = [window for window in windows if window.profile.mean_mw is not None]
    if not known:
        return "no power is known for this time"
    plotext = optional("plotext")
    if plotext is None:
        means = [window.profile.mean_mw for window in known]
        return f"mean  {sparkline(means, width - 6)}   (pip install 'chipwatt[cli]' draws a plot)"
    end_unix_ns = max(window.start_unix_ns + window.duration_ns for window in known)
    span_ns = end_unix_ns - min(window.start_unix_ns for window in known)
    unit_ns, unit = next((ns, name) for ns, name in _UNITS if span_ns >= 3 * ns or ns == _SECOND)
    figure = plotext.figure
    figure.clear()
    figure.theme("default" if colour else "colorless")
    figure.canvas("default")
    figure.plot_size(width, _HEIGHT)
    for name, marker in _LINES:
        points = [
            ((window.start_unix_ns + window.duration_ns / 2 - end_unix_ns) / unit_ns, value / 1000)
            for window in known
            if (value := getattr(window.profile, f"{name}_mw")) is not None
        ]
        if points:
            times, watts = zip(*points, strict=True)
            signal = figure.signal(times, watts, marker=marker).label(name)
            figure.draw(signal.lines() if name == "mean" else signal)
    figure.title("power in W")
    figure.label(f"{unit} before the newest window")
    return str(figure.build().string(colorless=not colour))


def over_power(histogram: PowerHistogram, width: int, rows: int = 12) -> str:
    """Draw the share of time spent at each power, lowest first."""
    total_ms = histogram.zero_ms + sum(histogram.counts_ms)
    if not total_ms:
        return "no time is known for this histogram"
    bars = bins(histogram, rows)
    labels = [f"{power_text(low)} to {power_text(high)}" for low, high, _ in bars]
    if histogram.zero_ms:
        labels, bars = ["0 W", *labels], [(0, 0, histogram.zero_ms), *bars]
    room = max(10, width - max(map(len, labels)) - 11)
    longest_ms = max(time_ms for _, _, time_ms in bars)
    return "\n".join(
        f"{label.rjust(max(map(len, labels)))}  {100 * time_ms / total_ms:5.1f} %  "
        f"{_bar(time_ms, longest_ms, room)}".rstrip()
        for label, (_, _, time_ms) in zip(labels, bars, strict=True)
    )


def bins(histogram: PowerHistogram, rows: int) -> list[tuple[int, int, int]]:
    """Join neighbouring buckets into at most ``rows``: (lower mW, upper mW, ms), no time lost."""
    counts = histogram.counts_ms
    if not counts:
        return []
    each = -(-len(counts) // rows)
    return [
        (
            _edge_mw(histogram, first),
            _edge_mw(histogram, min(first + each, len(counts))),
            sum(counts[first : first + each]),
        )
        for first in range(0, len(counts), each)
    ]


def _edge_mw(histogram: PowerHistogram, bucket: int) -> int:
    edge_w: float = 2.0 ** ((histogram.offset + bucket) / 2.0**histogram.scale)
    return round(1000 * edge_w)


def _bar(value: int, greatest: int, width: int) -> str:
    eighths = value * width * 8 // max(1, greatest)
    if not eighths:
        return _BAR[0] if value else ""
    return _BAR[-1] * (eighths // 8) + (_BAR[eighths % 8 - 1] if eighths % 8 else "")
