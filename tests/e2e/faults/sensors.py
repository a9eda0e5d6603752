"""Row 18: sensors that vanish, stand still, run backwards, leap, or say what is no number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from chipwatt.core.model import DeviceKind, GapReason
from e2e.faults.bench import Bench
from e2e.faults.outages import no_spike, stored
from e2e.faults.rows import Case, Counts, row
from fakes.powercap import FakeZone

TEXTS = ("", "N/A", "nan", "-1", "4294967296", "9223372036854775792", "1e9", "\0\0\0", "9" * 60)
"""What firmware and kernels have been seen to say, 2^32 and 2^63-16 among it."""


def _write(zone: FakeZone, text: str) -> None:
    """Let the counter's file say something else, until the counter moves again."""
    path = zone.folder / "energy_uj"
    with path.open("r+b", buffering=0) as file:
        file.write((text + "\n").ljust(80).encode())


def _mend(zone: FakeZone) -> None:
    path = zone.folder / "energy_uj"
    os.truncate(path, 0)
    zone.advance(0)


@contextmanager
def _standing(bench: Bench) -> Iterator[None]:
    """Stop the counters around what happens to them, so that the truth stays exact."""
    bench.host.rest()
    yield
    time.sleep(0.3)
    bench.host.play()
    bench.more(1)


def _faulty(case: Case, faults: list[Callable[[FakeZone], None]]) -> Counts:
    with Bench(case) as bench:
        bench.begin()
        zone = bench.host.tree.zones[0]
        for fault in faults:
            with _standing(bench):
                fault(zone)
                time.sleep(0.3)
                _mend(zone)
        counts = bench.finish(len(faults))
        windows, _ = stored(bench, bench.host)
        no_spike(windows)
        return counts


@row(18, "counter file says what is no number, or no possible one")
def texts(case: Case) -> Counts:
    chosen = TEXTS if case.full else case.chance.sample(TEXTS, 4)
    return _faulty(case, [partial(_write, text=text) for text in chosen])


@row(18, "a leap of a megawatt, and back")
def spike(case: Case) -> Counts:
    def leap(zone: FakeZone) -> None:
        _write(zone, str(zone.energy_uj + 370_000_000_000 * case.chance.randint(1, 2)))

    return _faulty(case, [leap] * case.pick(2, 10))


@row(18, "counter runs backwards for a moment")
def backwards(case: Case) -> Counts:
    """What it then takes to catch up cannot be told from consumption; no more than that is."""
    backs_uj = 0
    with Bench(case) as bench:
        bench.begin()
        zone = bench.host.tree.zones[0]
        runs = case.pick(1, 5)
        for _ in range(runs):
            with _standing(bench):
                back_uj = min(zone.energy_uj, case.chance.randint(1, 100_000))
                _write(zone, str(zone.energy_uj - back_uj))
                backs_uj += back_uj
                time.sleep(0.3)
                _mend(zone)
        counts = bench.finish(runs, truth={})
        windows, gaps = stored(bench, bench.host)
        no_spike(windows)
        sum_uj = sum(window.energy_uj for window in windows if window.domain == 1)
        open_uj = sum(gap.upper_uj for gap in gaps if gap.domain == 1)
        true_uj = zone.true_uj
        assert sum_uj - backs_uj <= true_uj <= sum_uj + open_uj, f"{sum_uj} µJ, true {true_uj}"
        return counts


@row(18, "permission lost and given back, file gone and back")
def gone(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.begin()
        zone = bench.host.tree.zones[0]
        for _ in range(case.pick(1, 5)):
            bench.host.rest()
            zone.remove()
            time.sleep(case.pick(6, 20))
            zone.restore()
            time.sleep(case.pick(6, 15))
            bench.host.play()
            bench.more(2)
        return bench.finish(case.pick(1, 5))


@row(18, "stuck: a counter stands still while its sibling moves")
def stuck(case: Case) -> Counts:
    """What the stuck one hid comes with its next move, once, and no zero is invented as fact."""
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        package, dram = host.tree.zones
        host.rest()
        for _ in range(case.pick(30, 200)):
            dram.advance(3_000_000)
            time.sleep(0.1)
        package.advance(1_000_000)
        bench.more(1)
        host.play()
        bench.more(1)
        counts = bench.finish()
        windows, gaps = stored(bench, host)
        assert all(window.device.kind is DeviceKind.CPU for window in windows)
        assert not [gap for gap in gaps if gap.reason is GapReason.IMPLAUSIBLE]
        return counts
