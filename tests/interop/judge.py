"""Holds what a back end gives back against what was stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from chipwatt.collector.otlp import table
from chipwatt.collector.otlp.table import Instrument
from chipwatt.core.histogram import MAX_SCALE
from interop.backend import Backend, Series
from interop.history import ALPHA, DISTRIBUTED, NAMES, NESTED, History
from interop.push import Pushed

UJ_PER_J = 1_000_000
NS_PER_MS = 1_000_000
BUCKET = 2.0 ** (2.0**-MAX_SCALE)
"""Ratio of a bucket's bounds at the finest scale that is stored."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison."""

    what: str
    expected: str
    found: str
    is_right: bool

    def __str__(self) -> str:
        verdict = "ok" if self.is_right else "BROKEN"
        return f"  {self.what:<42} {self.expected:>24} {self.found:>24}  {verdict}"


def judge(backend: Backend, history: History, pushed: Pushed) -> Iterator[Finding]:
    """Yield every comparison."""
    yield _same("points rejected", 0, pushed.rejected)
    yield from _points(backend, pushed)
    yield from amounts(backend, history)
    energy = backend.series(table.ENERGY)
    yield from _attributes(energy, backend.series(table.DOMAIN_ENERGY))


def amounts(backend: Backend, history: History) -> Iterator[Finding]:
    """Yield how much there is of everything, and of nothing twice."""
    energy = backend.series(table.ENERGY)
    yield _same("energy of components, stored and found, uJ", history.stored_uj, grown_uj(energy))
    host_j = grown_uj(backend.series(table.HOST_ENERGY)) // UJ_PER_J
    stored_j = history.stored_uj // UJ_PER_J
    found = f"{host_j} J"
    is_near = 0 <= stored_j - host_j <= len(NAMES)  # each host's sum is rounded down
    yield Finding("energy of hosts, whole joules", f"{stored_j} J", found, is_near)
    yield from _quantile(backend, history)
    yield from _gaps(backend, history)


def _same(what: str, expected: object, found: object) -> Finding:
    return Finding(what, str(expected), str(found), expected == found)


def _points(backend: Backend, pushed: Pushed) -> Iterator[Finding]:
    found = {
        metric.name: backend.histogram_points(metric)
        if metric.instrument is Instrument.HISTOGRAM
        else sum(len(one.values) for one in backend.series(metric))
        for metric in table.METRICS
    }
    yield _same("points sent, found", pushed.sent, sum(found.values()))
    for name, count in found.items():
        if count != pushed.by_metric[name]:
            yield _same(f"points of {name}", pushed.by_metric[name], count)


def grown_uj(series: list[Series]) -> int:
    """Return by how many uJ cumulative sums in J grew, as ``increase`` would: a fall is a reset."""
    total = 0
    for one in series:
        counter_uj = [round(value * UJ_PER_J) for _, value in one.values]
        total += sum(b - a if b >= a else b for a, b in pairwise(counter_uj))
    return total


def _quantile(backend: Backend, history: History) -> Iterator[Finding]:
    at_ms = history.end_unix_ns // NS_PER_MS
    found_w = backend.quantile_w(table.PROFILE, 0.99, DISTRIBUTED, at_ms)
    off = abs(math.log(found_w / history.p99_w, BUCKET))
    what = f"p99 power, {off:.2f} buckets off"
    yield Finding(what, f"{history.p99_w:.2f} W", f"{found_w:.2f} W", off <= 1.0)


def _attributes(energy: list[Series], nested: list[Series]) -> Iterator[Finding]:
    hosts = sorted({one.labels["host_name"] for one in energy})
    yield _same("hosts", sorted(NAMES.values()), hosts)
    ids = {one.labels["host_id"] for one in energy if one.labels["host_name"] == "alpha"}
    yield _same("host.id of alpha", {ALPHA.hex()}, ids)
    types = sorted({one.labels["hw_type"] for one in energy})
    yield _same("hw.type of what is added up", ["cpu", "gpu"], types)
    parents = {(one.labels["hw_id"], one.labels.get("hw_parent")) for one in nested}
    yield _same("hw.parent of a nested domain", {(NESTED, "cpu/0/package")}, parents)
    methods = sorted({one.labels["chipwatt_method"] for one in energy})
    yield _same("chipwatt.method", ["counter", "integrated"], methods)


def _gaps(backend: Backend, history: History) -> Iterator[Finding]:
    bounds = (table.GAP_LOWER, table.GAP_UPPER)
    lower, upper = ({one.labels["chipwatt_reason"]: one for one in backend.series(bound)}
                    for bound in bounds)  # fmt: skip
    for reason, expected in sorted(history.gaps.items()):
        found = tuple(grown_uj([one[reason]]) if reason in one else 0 for one in (lower, upper))
        yield _same(f"gap {reason}, bounds, uJ", expected, found)
