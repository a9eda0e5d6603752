"""Which points an interval gives, and where the unbroken stream that each belongs to began.

A stream of a counter opens with a point of no duration that carries the counter as
it stood: in OTLP's data model ("unknown start time") that contributes no increase.
A sum of our own opens with a zero a millisecond after its start, so that a back end which
goes by values and not by starts counts its first step, and sees no second value at
the time at which an earlier process ended.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from chipwatt.collector.otlp import semconv
from chipwatt.collector.otlp.row import Row
from chipwatt.collector.otlp.stream_book import Began
from chipwatt.collector.otlp.table import HOST_ENERGY, HOST_POWER, Metric
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.model import Method
from chipwatt.core.tables import Array

UJ_PER_J = 1_000_000
MAX_EPOCHS = 4
"""Lives of one counter that late data may still belong to."""
_START = attrgetter("start_unix_ns")


class Sample(NamedTuple):
    """A value on its way to becoming a point."""

    metric: Metric
    attributes: bytes
    start_unix_ns: int
    time_unix_ns: int
    value: float | int
    """A double or, where it is an int, an integer point."""


class _Segment(NamedTuple):
    """Where an unbroken run of points of one counter begins, and the counter there."""

    start_unix_ns: int
    base_uj: int


class DomainStreams:
    """Points of single domains. The counter goes out as firmware has it.

    A counter's life is one segment. Late data from before its start cannot join it, for
    a point is never older than its stream: it forms a segment of its own in front,
    which ends where the next begins, so that no energy lies in two of them.
    """

    def __init__(self) -> None:
        self._epochs: dict[tuple[int, int, int, int], dict[int, list[_Segment]]] = {}
        self._began: list[Began] = []

    def restore(self, streams: Iterable[Began]) -> None:
        """Take over what an earlier process began."""
        for began in streams:
            segments = self._segments(began[:4], began.epoch)
            segment = _Segment(began.start_unix_ns, began.base_uj)
            if segment not in segments:
                insort(segments, segment)

    def began(self) -> list[Began]:
        """Return the streams that were begun since this was asked last."""
        began, self._began = self._began, []
        return began

    def knows(self, line: tuple[int, int, int, int], epoch: int) -> bool:
        """Return whether a counter's life has been told of."""
        return bool(self._epochs.get(line, {}).get(epoch))

    def points(self, row: Row) -> Iterator[tuple[int, int, int]]:
        """Yield (stream's start, time, counter in µJ) of one interval of one domain."""
        line = (row.device, row.domain, row.statistic, row.is_root)
        segments = self._segments(line, row.epoch)
        at = bisect_right(segments, row.start_unix_ns, key=_START) - 1
        if at < 0:
            at = 0
            segments.insert(0, _Segment(row.start_unix_ns, row.base_uj))
            self._began.append(Began(*line, row.epoch, row.start_unix_ns, row.base_uj))
            yield row.start_unix_ns, row.start_unix_ns, row.base_uj
        for following in segments[at + 1 :]:
            # The second half fails only where a wall clock was set back.
            if following.start_unix_ns >= row.end_unix_ns or not (
                row.base_uj <= following.base_uj <= row.cumulative_uj
            ):
                break
            yield segments[at].start_unix_ns, *following
            at += 1
        yield segments[at].start_unix_ns, row.end_unix_ns, row.cumulative_uj

    def _segments(self, line: tuple[int, int, int, int], epoch: int) -> list[_Segment]:
        """Return the segments of a line's epoch, by start; the oldest epochs are forgotten."""
        epochs = self._epochs.setdefault(line, {})
        segments = epochs.setdefault(epoch, [])
        if len(epochs) > MAX_EPOCHS:
            del epochs[min(epochs)]
        return segments


@dataclass(slots=True)
class _Host:
    """What is known of one host's sums."""

    method: int
    attributes: bytes
    start_unix_ns: int
    time_unix_ns: int
    total_uj: int = 0
    slot: int = -1
    heard: set[tuple[int, int]] = field(default_factory=set)
    """Root domains of the newest interval."""


class HostStreams:
    """Points of whole hosts: sums over root domains.

    The energy starts at 0 and not at the sum of the counters, which would fall
    when one of them is reset, and a back end would read a fall as a reset of the whole.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    def state(self) -> dict[str, Array]:
        """Return the sums as they stand."""
        hosts = self._hosts.values()
        heard = [(at, *part) for at, host in enumerate(hosts) for part in sorted(host.heard)]
        return {
            "host_ids": np.array(list(self._hosts), "S32"),
            "host_sums": np.array(
                [
                    (host.method, host.start_unix_ns, host.time_unix_ns, host.total_uj, host.slot)
                    for host in hosts
                ],
                np.int64,
            ).reshape(-1, 5),
            "host_heard": np.array(heard, np.int64).reshape(-1, 3),
        }

    def restore(self, state: Mapping[str, Array], *, is_same_interval: bool) -> None:
        """Go on from sums of an earlier process. Raises KeyError, ValueError.

        Numbers of intervals mean something only where intervals are as long as then.
        """
        ids = [name.decode() for name in state["host_ids"].tolist()]
        for host_id, sums in zip(ids, state["host_sums"].tolist(), strict=True):
            method, start_unix_ns, time_unix_ns, total_uj, slot = sums
            attributes = semconv.host_attributes(host_id, Method(method))
            host = _Host(method, attributes, start_unix_ns, time_unix_ns, total_uj)
            host.slot = slot if is_same_interval else host.slot
            self._hosts[host_id] = host
        for at, device, domain in state["host_heard"].tolist():
            self._hosts[ids[at]].heard.add((device, domain))

    def samples(self, host_id: str, roots: Sequence[Row], closed_unix_ns: int) -> Iterator[Sample]:
        """Yield what rows of root domains of one host give, as of ``closed_unix_ns``."""
        if not roots:
            return
        start_unix_ns = min(row.start_unix_ns for row in roots)
        method = max(row.method for row in roots)
        host = self._hosts.get(host_id)
        if host is None or method > host.method:
            attributes = semconv.host_attributes(host_id, Method(method))
            opens_unix_ns = start_unix_ns + NS_PER_MS
            host = self._hosts[host_id] = _Host(method, attributes, start_unix_ns, opens_unix_ns)
            yield Sample(HOST_ENERGY, attributes, start_unix_ns, opens_unix_ns, 0)
        attributes = host.attributes
        host.total_uj += sum(row.energy_uj for row in roots)
        host.time_unix_ns = max(closed_unix_ns, host.time_unix_ns + NS_PER_MS)
        total_j = host.total_uj // UJ_PER_J
        yield Sample(HOST_ENERGY, attributes, host.start_unix_ns, host.time_unix_ns, total_j)
        by_slot = sorted((row for row in roots if row.duration_ns), key=lambda row: row.slot)
        for slot, group in groupby(by_slot, key=lambda row: row.slot):
            rows = list(group)
            heard = {(row.device, row.domain) for row in rows}
            is_whole = heard >= host.heard
            if slot > host.slot:
                host.slot, host.heard = slot, heard
            if is_whole:
                start_unix_ns = min(row.start_unix_ns for row in rows)
                end_unix_ns = max(row.end_unix_ns for row in rows)
                total_w = sum(row.mean_w for row in rows)
                yield Sample(HOST_POWER, attributes, start_unix_ns, end_unix_ns, total_w)
