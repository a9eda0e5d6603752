"""Rows 2 and 3: agents that are down, hosts that boot, drivers and counters that begin anew."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import DeviceWindow, Gap
from e2e.faults.bench import POSSIBLE_MW, Bench, Host
from e2e.faults.rows import Case, Counts, row
from e2e.programs import Agent, until
from fakes import nvml
from fakes.scenario import steady, write_scenario

MODULUS_STEPS = 2_000_000_000
"""2 kJ: at 500 W a wrap every four seconds."""
LOAD_MW = 500_000


def stored(bench: Bench, host: Host) -> tuple[list[DeviceWindow], list[Gap]]:
    with bench.running.client() as client:
        return list(client.windows(host.id.hex())), list(client.gaps(host.id.hex()))


def no_spike(windows: list[DeviceWindow]) -> None:
    """A modulus that was added by mistake would be at least 100 kW."""
    highest_mw = max(window.profile.max_mw or 0 for window in windows)
    assert highest_mw <= 2 * POSSIBLE_MW, f"phantom power of {highest_mw} mW"
    assert all(window.energy_uj >= 0 for window in windows)


@row(2, "agent down for less than a wrap: exact")
def down_briefly(case: Case) -> Counts:
    runs = case.pick(1, 3)
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        for _ in range(runs):
            host.kill()
            time.sleep(case.pick(4, 20))
            host.start(bench.address)
            bench.more(2)
        counts = bench.finish(runs)
        windows, gaps = stored(bench, host)
        assert not gaps, f"energy is known, and yet: {gaps}"
        assert any(window.flags & Flag.RESUMED for window in windows)
        no_spike(windows)
        return counts


@row(2, "agent down for several wraps: a gap whose bounds hold the truth")
def down_for_wraps(case: Case) -> Counts:
    runs = case.pick(1, 3)
    with Bench(case, load=steady(LOAD_MW)) as bench:
        for zone in bench.host.tree.zones:
            zone.limit(MODULUS_STEPS)
        bench.begin()
        host = bench.host
        for _ in range(runs):
            host.kill()
            time.sleep(case.pick(9, 30))
            host.start(bench.address)
            bench.more(2)
        counts = bench.finish(runs)
        windows, gaps = stored(bench, host)
        down = [gap for gap in gaps if gap.reason is GapReason.AGENT_DOWN]
        assert len(down) == runs * len(host.tree.zones), f"one gap a counter and outage: {gaps}"
        assert all(gap.upper_uj > gap.lower_uj for gap in down)
        no_spike(windows)
        return counts


def _on_gpus(bench: Bench, host: Host, scenario: Path) -> Agent:
    host.settings = {**host.settings, "sensing": {"sources": ["nvml"]}, "sources": {}}
    return host.start(bench.address, environment=nvml.environment(scenario))


@row(2, "agent down on a GPU host: NVML's counter bridges it exactly", "compiler")
def down_with_gpu(case: Case) -> Counts:
    power_mw = 300_000
    with Bench(case) as bench:
        host = bench.host
        scenario = bench.folder / "gpus"
        write_scenario(scenario, [nvml.gpu(1, steady(power_mw))])
        bench.start_collector()
        _on_gpus(bench, host, scenario)
        until(lambda: bench.status().device_windows_stored >= 3, 30, "windows of a GPU")
        host.kill()
        time.sleep(case.pick(5, 60))
        _on_gpus(bench, host, scenario)
        bench.more(3)
        assert host.running.stop(60) == 0
        counts = bench.audit(truth={})
        windows, gaps = stored(bench, host)
        counters = [window for window in windows if window.provenance.method == 1]
        assert counters, "the GPU has an energy counter"
        assert not [gap for gap in gaps if gap.statistic == counters[0].statistic]
        first, last = counters[0], counters[-1]
        span_ns = last.start_mono_ns + last.duration_ns - first.start_mono_ns
        true_uj = power_mw * span_ns // 1_000_000
        sum_uj = sum(window.energy_uj for window in counters)
        refresh_uj = power_mw * 200
        assert abs(sum_uj - true_uj) <= refresh_uj, f"{sum_uj} µJ counted, true {true_uj}"
        return counts


@row(3, "host reboot: new boot id, counters from zero", "compiler")
def reboot(case: Case) -> Counts:
    runs = case.pick(2, 20)
    with Bench(case, faults=True) as bench:
        assert bench.host.faults is not None
        boot(bench.host, case)
        bench.begin()
        host = bench.host
        for _ in range(runs):
            bench.more(1)
            host.rest()
            bench.more(2)  # nothing happens unseen
            host.kill()
            boot(host, case)
            for zone in host.tree.zones:
                zone.reset(case.chance.randrange(1000))
            host.start(bench.address)
            bench.more(2)
            host.play()
        bench.more(1)
        counts = bench.finish(runs)
        windows, _ = stored(bench, host)
        no_spike(windows)
        epochs = {window.epoch for window in windows if window.domain == 1}
        assert len(epochs) == runs + 1, f"one counter epoch a boot: {epochs}"
        return counts


def boot(host: Host, case: Case) -> None:
    assert host.faults is not None
    host.faults.boot(str(uuid.UUID(int=case.chance.getrandbits(128))))


@row(3, "counter reset under a running agent")
def reset(case: Case) -> Counts:
    runs = case.pick(2, 20)
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        for _ in range(runs):
            bench.more(1)
            host.rest()
            for zone in host.tree.zones:
                zone.reset()
            time.sleep(0.5)
            host.play()
        bench.more(1)
        counts = bench.finish(runs)
        windows, _ = stored(bench, host)
        no_spike(windows)
        return counts


@row(3, "GPU driver unloaded and loaded again", "compiler")
def driver_reload(case: Case) -> Counts:
    """Time zero of a scenario is when the driver was loaded: counters begin there."""
    with Bench(case) as bench:
        host = bench.host
        scenario = bench.folder / "gpus"
        card: Any = nvml.gpu(1, steady(300_000))
        # So long ago that no agent can start so late that the new life has caught up.
        write_scenario(scenario, [card], start_mono_ns=time.monotonic_ns() - 120 * NS_PER_S)
        bench.start_collector()
        _on_gpus(bench, host, scenario)
        until(lambda: bench.status().device_windows_stored >= 3, 30, "windows of a GPU")
        host.kill()
        time.sleep(1)
        write_scenario(scenario, [card])
        _on_gpus(bench, host, scenario)
        bench.more(3)
        assert host.running.stop(60) == 0
        counts = bench.audit(truth={})
        windows, _ = stored(bench, host)
        no_spike(windows)
        epochs = {window.epoch for window in windows if window.provenance.method == 1}
        assert len(epochs) == 2, f"the reload begins a counter epoch: {epochs}"
        return counts
