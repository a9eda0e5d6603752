"""One domain with a counter, an instantaneous and an averaged gauge counts once, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from chipwatt.agent.inventory import open_inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity, Reading, Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.collector.latest import Latest
from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.intervals import add_up, rows_of
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, PowerNode, Topology
from chipwatt.collector.store.config import HOUR_NS, MINUTE_NS, StoreConfig
from chipwatt.collector.store.ledger import EnergyCheck
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Statistic
from chipwatt.core.records import DeviceWindow, Records, Throttle
from fakes.chip import Chip
from fakes.otlp_reader import points
from fakes.telemetry_records import a_batch, a_host

S = 1_000_000_000
REFRESH_NS = S // 10
START_UNIX_NS = 1_790_000_040 * S  # a whole minute
GPU = DeviceId(DeviceKind.GPU, 0, (0xC0FFEE << 64) | 1)
HOST = a_host(1)
LIFE_NS = 180 * S
LOAD = ((3 * S, 120_000), (2 * S, 640_000), (5 * S, 330_000))


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Nothing to set."""


class Triple:
    """A GPU that shows its board's energy, power and mean power; each would count alone."""

    name: ClassVar[str] = "triple"
    interface: ClassVar[Interface] = Interface.EXTERNAL
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False
    present: ClassVar[tuple[Statistic, ...]] = tuple(Statistic)

    def __init__(self, config: NoSettings) -> None:  # noqa: ARG002
        self._chip = Chip(LOAD, refresh_ns=REFRESH_NS)
        self.now_ns = 0

    def open(self) -> Sequence[Sensor]:
        power = Sensor(
            GPU, Domain.BOARD, self.interface, Quantity.POWER_MW, root=True,
            refresh_ns=REFRESH_NS, max_power_mw=1_000_000,
        )  # fmt: skip
        kinds = {
            Statistic.AVERAGE: replace(power, averaging_ns=S),
            Statistic.ENERGY: replace(power, quantity=Quantity.ENERGY_UJ),
            Statistic.INSTANT: power,
        }
        return [sensor for kind, sensor in kinds.items() if kind in self.present]

    def poll(self) -> Sequence[Reading]:
        shown_ns = self._chip.updated_ns(self.now_ns)
        mean_mw = round(self._chip.mean_mw(max(0, shown_ns - S), max(1, shown_ns)))
        now_mw = round(self._chip.mean_mw(max(0, shown_ns - REFRESH_NS), max(1, shown_ns)))
        values = {
            Statistic.AVERAGE: mean_mw,
            Statistic.ENERGY: self._chip.counter_uj(self.now_ns),
            Statistic.INSTANT: now_mw,
        }
        shown = [value for kind, value in values.items() if kind in self.present]
        return [Reading(n, self.now_ns, value) for n, value in enumerate(shown)]

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()

    def close(self) -> None:
        pass


class Gauges(Triple):
    """The same without a counter."""

    present: ClassVar[tuple[Statistic, ...]] = (Statistic.INSTANT, Statistic.AVERAGE)


def run(cls: type[Triple]) -> tuple[list[Sensor], list[Records]]:
    """Sample a GPU for three minutes with the shipped inventory and reducer."""
    inventory = open_inventory({"triple": Registered("triple", NoSettings, cls)},
                               {"triple": NoSettings()})  # fmt: skip
    source = inventory.opened[0].source
    assert isinstance(source, Triple)
    reducer = Reducer(inventory.sensors(), mono_ns=0, unix_ns=START_UNIX_NS)
    batches = []
    for source.now_ns in range(0, LIFE_NS, REFRESH_NS // 2):
        for reading in source.poll():
            reducer.observe(*reading)
        while reducer.step(source.now_ns):
            pass
        batches += reducer.take()
    return inventory.sensors(), batches + reducer.finish(source.now_ns)


@pytest.fixture(scope="module")
def batches() -> list[Records]:
    return run(Triple)[1]


def of(windows: Sequence[DeviceWindow], statistic: Statistic) -> int:
    return sum(window.energy_uj for window in windows if window.statistic is statistic)


@pytest.mark.parametrize("cls", [Triple, Gauges])
def test_the_best_statistic_of_a_domain_is_added_up_and_the_others_are_kept(
    cls: type[Triple],
) -> None:
    sensors, batches = run(cls)
    best = min(cls.present)
    assert {s.statistic: s.root for s in sensors} == {k: k is best for k in cls.present}
    windows = [window for records in batches for window in records.windows]
    assert {window.statistic for window in windows} == set(cls.present)
    for window in windows:
        assert bool(window.flags & Flag.ROOT) == (window.statistic is best)
    seconds = [second for records in batches for second in records.host_seconds]
    assert max(second.expected for second in seconds) == 1
    of_seconds_mj = sum(s.gpu_mj + s.cpu_mj + s.memory_mj + s.other_mj for s in seconds)
    assert of_seconds_mj == of(windows, best) // 1000
    for kind in cls.present:
        assert of(windows, kind) == pytest.approx(of(windows, best), rel=0.01)


def test_store_totals_books_and_roll_ups(tmp_path: Path, batches: list[Records]) -> None:
    store = SqliteStore(StoreConfig(path=tmp_path))
    sent = [window for records in batches for window in records.windows]
    for sequence, records in enumerate(batches):
        store.commit([a_batch(HOST, records, sequence=sequence)])
    assert store.totals().root_energy_uj == of(sent, Statistic.ENERGY)
    far = START_UNIX_NS + HOUR_NS
    for _ in ("from the journal", "from blocks"):
        minutes = store.windows(HOST, 0, far, resolution_ns=MINUTE_NS)
        assert len(minutes) == 9, "three minutes of three statistics"
        for kind in Statistic:
            assert of(minutes, kind) == of(sent, kind)
            (found,) = {w.statistic for w in store.windows(HOST, 0, far, statistic=kind)}
            assert found is kind
        store.compact(far)
    # Each statistic has a ledger of its own; stretches of one do not cover another's.
    check = store.energy_check()
    store.close()
    assert check == EnergyCheck(epochs=3, holes=0, hole_uj=0, twice_uj=0)


def test_the_newest_of_each_and_headroom(batches: list[Records]) -> None:
    latest = Latest()
    for sequence, records in enumerate(batches):
        latest.on_commit([a_batch(HOST, records, sequence=sequence)])
    assert [window.statistic for window in latest.windows(HOST)] == list(Statistic)
    topology = Topology([PowerNode("node", NodeKind.HOST)])
    sums = Sums(topology, latest)
    now_s = (START_UNIX_NS + LIFE_NS) // NS_PER_S
    sums.resolve([HOST], now_s)
    now = sums.look(now_s)
    chip = Chip(LOAD)
    assert now.mean_mw()[0] == pytest.approx(chip.mean_mw(0, LIFE_NS), rel=0.02)
    assert now.peak_1s_mw()[0] == pytest.approx(640_000, rel=0.01)


def test_otlp(tmp_path: Path, batches: list[Records]) -> None:
    store = SqliteStore(StoreConfig(path=tmp_path))
    for sequence, records in enumerate(batches):
        store.commit([a_batch(HOST, records, sequence=sequence)])
    blocks = [b for b in store.follow(0) if b.kind is SectionKind.DEVICE_WINDOW]
    encoder = Encoder(MINUTE_NS, version="1")
    encoder.learn(store.host_dictionary(), {}, store.device_dictionary())
    rows = add_up(np.concatenate([rows_of(block, MINUTE_NS) for block in blocks]))
    requests = [r.message for r in encoder.requests(rows, START_UNIX_NS + LIFE_NS)]
    store.close()
    found = list(points(requests))
    series = [(p.metric, dict(p.attributes).get("chipwatt.statistic")) for p in found]
    assert {kind for metric, kind in series if metric in ("hw.energy", "hw.power")} == {"energy"}
    beside = {kind for metric, kind in series if metric == "chipwatt.domain.power"}
    assert beside == {"instant", "average"}
    stamps = [(p.metric, p.attributes, p.start_unix_ns, p.time_unix_ns) for p in found]
    assert len(stamps) == len(set(stamps)), "no two points of one series at one time"
    sent = [window for records in batches for window in records.windows]
    (total_j, *_) = (p.value for p in reversed(found) if p.metric == "hw.host.energy")
    assert total_j == of(sent, Statistic.ENERGY) // 10**6
    powers = [p.value for p in found if p.metric == "hw.host.power"]
    assert powers == pytest.approx([Chip(LOAD).mean_mw(0, LIFE_NS) / 1000] * 3, rel=0.02)
