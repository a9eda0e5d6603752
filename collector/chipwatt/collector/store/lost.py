"""Gaps that damage to the store left: derived when somebody asks, from what is left.

A line (one statistic of one domain of one device) is told by windows, and by the
gaps that its agent sent. Where two neighbours of one epoch do not join up, the
counter says to the µJ what is lost between them; beside another epoch, or at an
end of the line, it is bounded by the sensor's greatest power. Only places that
a known loss (``damage``) touches are looked at: what never came is not lost here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chipwatt.collector.store.config import HOUR_NS, MINUTE_NS
from chipwatt.collector.store.damage import Loss
from chipwatt.collector.store.lines import Line
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_ENERGY_UJ, SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, GapReason, Statistic
from chipwatt.core.records import DeviceWindow, Gap, SensorStatus

REACH_NS = HOUR_NS + 10 * MINUTE_NS
"""How far from a loss its neighbours may lie: the coarsest window, and some."""
_JOIN_NS = NS_PER_S
"""Labels of one moment may lie this far apart."""
_WINDOW_NS = 10 * NS_PER_S
"""How long the last of the rows is taken to be where nothing says it."""
_TELLS = (None, SectionKind.DEVICE_WINDOW, SectionKind.GAP)
_Key = tuple[DeviceId, Domain, Statistic]


@dataclass(frozen=True, slots=True)
class Around:
    """What is left of a host near a loss, and what is known of its lines."""

    windows: Sequence[DeviceWindow]
    gaps: Sequence[Gap]
    lines: Sequence[Line]
    sensors: Sequence[SensorStatus]


def spans(losses: Iterable[Loss]) -> list[tuple[int, int]]:
    """Return when rows that are lost start, as first and last, losses that are near in one."""
    joined: list[tuple[int, int]] = []
    for loss in sorted(losses, key=lambda loss: loss.start_min):
        if loss.kind not in _TELLS:
            continue  # of host seconds no energy is lost: devices' windows have it
        if joined and loss.start_min <= joined[-1][1] + REACH_NS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], loss.start_max))
        else:
            joined.append((loss.start_min, loss.start_max))
    return joined


def gaps_in(first_ns: int, last_ns: int, around: Around) -> list[Gap]:
    """Return the gaps left by rows lost that start in [first, last]."""
    most_mw = {(s.device, s.domain, s.statistic): s.max_power_mw for s in around.sensors}
    ends = {(x.device, x.domain, x.statistic): x.end_unix_ns for x in around.lines}
    of_line: dict[_Key, list[DeviceWindow]] = {key: [] for key in {*ends, *most_mw}}
    for window in around.windows:
        of_line.setdefault((window.device, window.domain, window.statistic), []).append(window)
    found = []
    for key, windows in sorted(of_line.items()):
        windows.sort(key=lambda window: window.start_unix_ns)
        said = [g for g in around.gaps if (g.device, g.domain, g.statistic) == key]
        for hole in _holes(key, windows, ends.get(key, 0), first_ns, last_ns):
            if hole.start_ns <= last_ns + _JOIN_NS and hole.end_ns >= first_ns - _JOIN_NS:
                found += hole.less(said, most_mw.get(key, 0))
    return found


@dataclass(frozen=True, slots=True)
class _Hole:
    key: _Key
    start_ns: int
    start_mono_ns: int
    end_ns: int
    lower_uj: int = 0
    upper_uj: int = MAX_ENERGY_UJ

    def less(self, gaps: Iterable[Gap], most_mw: int) -> list[Gap]:
        """Return the hole as a gap, without what the agent's own gaps say of it."""
        start_ns, end_ns, lower_uj, upper_uj = (
            self.start_ns, self.end_ns, self.lower_uj, self.upper_uj,
        )  # fmt: skip
        for gap in sorted(gaps, key=lambda gap: gap.start_unix_ns):
            gap_end_ns = gap.start_unix_ns + gap.duration_ns
            if gap.start_unix_ns >= end_ns or gap_end_ns <= start_ns:
                continue
            lower_uj, upper_uj = lower_uj - gap.upper_uj, upper_uj - gap.lower_uj
            if gap.start_unix_ns <= start_ns + _JOIN_NS:
                start_ns = gap_end_ns
            elif gap_end_ns >= end_ns - _JOIN_NS:
                end_ns = gap.start_unix_ns
        if end_ns <= start_ns or upper_uj <= 0:
            return []
        if most_mw and not self.lower_uj:
            upper_uj = min(upper_uj, -(-most_mw * (end_ns - start_ns) // NS_PER_MS))
        return [
            Gap(
                *self.key,
                start_ns,
                self.start_mono_ns + start_ns - self.start_ns,
                end_ns - start_ns,
                max(0, lower_uj),
                min(upper_uj, MAX_ENERGY_UJ),
                GapReason.STORE_DAMAGED,
            )
        ]


def _holes(
    key: _Key, windows: Sequence[DeviceWindow], line_end_ns: int, first_ns: int, last_ns: int
) -> Iterator[_Hole]:
    """Yield the places where a line is not told, near [first, last]."""
    # What ends the line: its own end, unless that is not known, or too far to be of these rows.
    is_near = 0 < line_end_ns <= last_ns + REACH_NS
    end_ns = line_end_ns if is_near else last_ns + _WINDOW_NS
    if not windows:
        if end_ns > first_ns:
            yield _Hole(key, first_ns, 0, end_ns)
        return
    head, tail = windows[0], windows[-1]
    before_uj = head.cumulative_uj - head.energy_uj
    # Its epoch may have begun in the loss, after another one: nothing bounds it but power.
    is_next = head.start_unix_ns <= last_ns + 2 * head.duration_ns
    if head.start_unix_ns > first_ns and (before_uj or is_next):
        mono_ns = max(0, head.start_mono_ns - (head.start_unix_ns - first_ns))
        yield _Hole(key, first_ns, mono_ns, head.start_unix_ns)
    for one, two in pairwise(windows):
        one_end_ns = one.start_unix_ns + one.duration_ns
        mono_ns = one.start_mono_ns + one.duration_ns
        if one.epoch == two.epoch:
            lost_uj = two.cumulative_uj - two.energy_uj - one.cumulative_uj
            if lost_uj > 0 and two.start_unix_ns > one_end_ns:
                yield _Hole(key, one_end_ns, mono_ns, two.start_unix_ns, lost_uj, lost_uj)
        elif two.start_unix_ns - one_end_ns > _JOIN_NS:
            yield _Hole(key, one_end_ns, mono_ns, two.start_unix_ns)
    tail_end_ns = tail.start_unix_ns + tail.duration_ns
    if end_ns - tail_end_ns > _JOIN_NS:
        yield _Hole(key, tail_end_ns, tail.start_mono_ns + tail.duration_ns, end_ns)
