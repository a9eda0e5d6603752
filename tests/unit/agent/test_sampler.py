from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from chipwatt.agent.inventory import open_inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sampler import Sampler
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, SystemClock, VirtualClock
from chipwatt.core.model import DeviceKind, Flag, GapReason
from chipwatt.core.records import AgentHealth, Gap, Records, SensorStatus
from chipwatt.core.settings import Duration
from fakes.file_sensors import FileConfig, FileSource, Hardware, LibraryFileSource, registered

S, MS = NS_PER_S, NS_PER_MS
POWER_MW = 100_000


class Run:
    """A sampler over file sensors on virtual time, and what came out."""

    def __init__(
        self,
        hardware: Hardware,
        config: SensingConfig | None = None,
        cpu_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self.hardware = hardware
        registry = registered(FileSource, clock=hardware)
        inventory = open_inventory(registry, {"file": FileConfig(hardware.root)}, clock=hardware)
        self.reducer = Reducer(
            inventory.sensors(), mono_ns=hardware.mono_ns(), unix_ns=hardware.unix_ns()
        )
        self.got: list[Records] = []
        self.sampler = Sampler(
            inventory,
            self.reducer,
            hardware,
            config or SensingConfig(),
            emit=self.got.extend,
            cpu_ns=cpu_ns,
        )

    def until(self, mono_ns: int) -> Run:
        self.sampler.run(lambda: self.hardware.mono_ns() >= mono_ns)
        return self

    def end(self) -> Run:
        self.sampler.close()
        self.got += self.reducer.finish(self.hardware.mono_ns())
        return self

    def health(self) -> list[AgentHealth]:
        return [health for records in self.got for health in records.agent]

    def statuses(self, chip: int = 0) -> list[SensorStatus]:
        return [
            status
            for records in self.got
            for status in records.sensors
            if status.device.ordinal == chip
        ]

    def gaps(self) -> list[Gap]:
        return [gap for records in self.got for gap in records.gaps]

    def energy_uj(self, chip: int) -> int:
        return sum(
            window.energy_uj
            for records in self.got
            for window in records.windows
            if window.device.ordinal == chip
        )

    def truth_uj(self, chip: int) -> int:
        return int(self.hardware.path(chip).read_text())


def test_every_joule_arrives_and_each_sensor_is_polled_at_half_its_refresh(
    tmp_path: Path,
) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 100 * MS), (2 * POWER_MW, 100 * MS)])
    run = Run(hardware).until(25 * S).end()
    for chip in (0, 1):
        assert run.energy_uj(chip) == run.truth_uj(chip)
        first = run.statuses(chip)[0]
        assert abs(first.refresh_us - 100_000) <= 2_000
        assert first.period_us == 50_000
    polls = sum(health.deadlines for health in run.health())
    assert polls == pytest.approx(1000 + 24 * 20, abs=60), "1 s at 1 kHz, then every 50 ms"
    assert sum(health.late_deadlines for health in run.health()) == 0


def test_readings_that_are_held_back_count_in_the_second_of_their_poll(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 20 * MS)])
    run = Run(hardware).until(45 * S).end()
    provenances = [w.provenance for records in run.got for w in records.windows]
    for provenance in provenances[1:-1]:  # all polls of a window, and no other's
        assert provenance.expected == pytest.approx(1000, abs=1)
        assert provenance.got + provenance.repeated == provenance.expected


def test_no_sensor_is_polled_faster_than_the_setting_allows(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, MS)])
    run = Run(hardware, SensingConfig(max_rate=50)).until(10 * S).end()
    status = run.statuses()[-1]
    assert status.period_us == 20_000
    assert status.refresh_us == 1_000, "the first measurement saw what 50 Hz cannot"


def test_a_late_wake_up_is_counted_and_shifts_no_later_deadline(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 2 * MS)])
    run = Run(hardware).until(5 * S)
    before = run.sampler.feeds[0].deadlines
    grid_ns = run.sampler.feeds[0].schedule.next_ns % (10 * MS)
    hardware.at(6 * S, lambda: VirtualClock.sleep_until(hardware, 6 * S + 35 * MS))
    run.until(7 * S)
    feed = run.sampler.feeds[0]
    assert feed.schedule.next_ns % (10 * MS) == grid_ns
    assert feed.deadlines - before == pytest.approx(200, abs=6), "missed deadlines count as due"
    assert feed.late_deadlines == 4, "35 ms late: this one and three that passed meanwhile"


def test_torn_reads_are_counted_and_cost_no_energy(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 20 * MS)])
    hardware.at(12 * S, lambda: hardware.tear(0))
    hardware.at(12 * S + 500 * MS, hardware.stuck.clear)
    run = Run(hardware).until(25 * S).end()
    assert 40 <= sum(health.transient_errors for health in run.health()) <= 60
    assert sum(health.broken_sources for health in run.health()) == 0
    assert run.energy_uj(0) == run.truth_uj(0)


def test_a_broken_source_is_told_closed_and_opened_again(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 20 * MS)])
    hardware.at(12 * S, lambda: hardware.remove(0))
    hardware.at(40 * S, hardware.stuck.clear)
    run = Run(hardware).until(30 * S)
    assert not run.sampler.feeds[0].is_open
    run.until(100 * S).end()
    assert sum(health.broken_sources for health in run.health()) == 1
    assert run.energy_uj(0) + sum(gap.lower_uj for gap in run.gaps()) <= run.truth_uj(0)
    assert run.energy_uj(0) + sum(gap.upper_uj for gap in run.gaps()) >= run.truth_uj(0)
    last = max(w.start_mono_ns + w.duration_ns for r in run.got for w in r.windows)
    assert last > 99 * S, "it goes on after the chip came back"


def test_the_pause_before_a_broken_source_is_tried_again_doubles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 20 * MS)])
    hardware.at(5 * S, lambda: hardware.remove(0))
    Run(hardware).until(900 * S)
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    pauses = [record.getMessage().rpartition(" in ")[2] for record in told]
    assert pauses == [f"{5 * 2**k} s" for k in range(7)] + ["320 s"]


def test_over_its_budget_the_process_polls_more_rarely_and_says_so(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 2 * MS)])
    run = Run(hardware, cpu_ns=lambda: max(0, hardware.mono_ns() - 25 * S) // 40)  # then 2.5 %
    run.until(90 * S).end()
    periods = [status.period_us for status in run.statuses()]
    assert periods[0] == 10_000
    assert periods[-1] > 100_000
    assert periods == sorted(periods)
    flags = [window.flags for records in run.got for window in records.windows]
    assert not flags[0] & Flag.RATE_REDUCED
    assert flags[-1] & Flag.RATE_REDUCED
    assert run.energy_uj(0) <= run.truth_uj(0)
    assert run.health()[-1].cpu_ppm == pytest.approx(25_000, rel=0.1)


def test_status_comes_at_start_on_change_and_every_five_minutes(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(POWER_MW, 100 * MS)])
    run = Run(hardware).until(700 * S)
    health = run.health()
    assert [h.uptime_s for h in health] == pytest.approx([1, 301, 601], abs=3)
    assert all(records.sensors for records in run.got if records.agent)
    hardware.chips[0] = (POWER_MW, 400 * MS)
    run.until(760 * S)
    assert abs(run.statuses()[-1].refresh_us - 400_000) < 40_000
    assert run.statuses()[-1].period_us == pytest.approx(200_000, rel=0.1)


def test_a_library_that_hangs_stalls_its_own_sensors_alone(tmp_path: Path) -> None:
    class Cpu(FileSource):
        kind: ClassVar[DeviceKind] = DeviceKind.CPU

    cpu, gpu = tmp_path / "cpu", tmp_path / "gpu"
    for folder in (cpu, gpu):
        folder.mkdir()
        (folder / "0.uj").write_text("5000000")
    clock = SystemClock()
    inventory = open_inventory(
        {
            "cpu": Registered("cpu", FileConfig, Cpu),
            "gpu": Registered("gpu", FileConfig, LibraryFileSource),
        },
        {"cpu": FileConfig(cpu), "gpu": FileConfig(gpu)},
    )
    reducer = Reducer(inventory.sensors(), mono_ns=clock.mono_ns(), unix_ns=clock.unix_ns())
    config = replace(SensingConfig(), call_timeout=Duration(50 * MS), cpu_budget=1.0)
    got: list[Records] = []
    sampler = Sampler(inventory, reducer, clock, config, emit=got.extend)
    began_ns = clock.mono_ns()
    os.mkfifo(gpu / "fifo")

    def control() -> bool:
        passed_ns = clock.mono_ns() - began_ns
        if passed_ns > 300 * MS and (gpu / "fifo").exists():
            (gpu / "fifo").replace(gpu / "0.uj")  # from now on the driver hangs
        if passed_ns > 2200 * MS and (gpu / "0.uj").is_fifo():
            with (gpu / "0.uj").open("w") as driver:  # and answers
                (gpu / "1.uj").write_text("6000000")
                (gpu / "1.uj").replace(gpu / "0.uj")
                driver.write("6000000")
        return passed_ns > 3200 * MS

    sampler.run(control)
    sampler.close()
    got += reducer.finish(clock.mono_ns())
    cpu_feed = next(feed for feed in sampler.feeds if not feed.library)
    assert cpu_feed.deadlines > 1000
    assert cpu_feed.late_deadlines < cpu_feed.deadlines / 4
    health = [health for records in got for health in records.agent][-1]
    assert health.library_ppm > 300_000
    reasons = {(gap.device.kind, gap.reason) for records in got for gap in records.gaps}
    assert reasons <= {(DeviceKind.GPU, GapReason.SENSOR_STALLED)}
    covered = {w.device.kind: w.provenance.got for r in got for w in r.windows}
    assert set(covered) == {DeviceKind.CPU, DeviceKind.GPU}
