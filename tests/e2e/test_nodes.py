"""Whole nodes as fakes: what `chipwatt sensors` says of them, and that each joule counts once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chipwatt.cli import toml
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow, HostSecond
from e2e.programs import NS, Agent, Collector, chipwatt, no_traceback, until
from fakes import nvml
from fakes.amd_smi import library_folder as amd_smi_folder
from fakes.file_player import FilePlayer, add_gauge
from fakes.powercap import Player, PowercapTree
from fakes.scenario import FakeDevice, Point, energy_uj, ramp, steady, write_scenario

pytestmark = pytest.mark.e2e
MS = 1_000_000
SECONDS = 4.0
"""How long each node is watched."""


@dataclass
class Node:
    """A fake machine: where its parts are, and what really draws power in it."""

    sources: Mapping[str, Mapping[str, Any]]
    """Enabled sources with their settings."""
    start_mono_ns: int
    truth: dict[str, Sequence[Point]]
    """Load of every device that is to be added up, by its id."""
    kinds: dict[str, str]
    """Which sum of a host second each of these belongs to."""
    refresh_ns: Mapping[str, int]
    """By kind: what a sensor may lack or have too much at either end."""

    @property
    def settings(self) -> dict[str, object]:
        return {
            "sensing": {"sources": list(self.sources)},
            "sources": {name: table for name, table in self.sources.items() if table},
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "machine"


@pytest.fixture
def players() -> Iterator[list[Any]]:
    """Give a list of players; whatever is in it is stopped."""
    running: list[Any] = []
    yield running
    for player in running:
        player.stop()


def sensors(node: Node, tmp_path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what `chipwatt sensors` finds, for programs and for people."""
    config = tmp_path / "sensors.toml"
    config.write_text(toml.dumps(node.settings))
    plain, shown = (
        chipwatt("sensors", "--json", "--measure", "1s", "--config", config),
        chipwatt("sensors", "--measure", "1s", "--config", config),
    )
    assert plain.returncode == shown.returncode == 0, plain.stderr + shown.stderr
    no_traceback(plain.stderr, shown.stderr)
    interfaces = json.loads(plain.stdout)["interfaces"]
    return [s for each in interfaces for s in each.get("sensors", ())], shown.stdout


def roots(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((s["device"], s["domain"], s["statistic"]) for s in found if s["root"])


@dataclass(frozen=True)
class Books:
    """What a collector has stored of a node."""

    windows: Sequence[DeviceWindow]
    seconds: Sequence[HostSecond]
    total_uj: int


def watch(node: Node, tmp_path: Path) -> Books:
    """Run agent and collector before the node."""
    with Collector(tmp_path / "collector") as collector, collector.client() as client:
        with Agent(tmp_path / "agent", collector.address, node.settings) as agent:
            until(lambda: client.status().host_seconds_stored > 0, what="the first second")
            time.sleep(SECONDS)
            assert agent.stop() == 0, agent.said()
        assert agent.status()["spool"]["unacked"] == 0
        no_traceback(agent.said(), collector.said())
        host = next(client.hosts()).host_id
        assert list(client.gaps(host)) == []
        return Books(
            list(client.windows(host)),
            list(client.host_seconds(host)),
            client.status().root_energy_uj,
        )


def check_counted_once(node: Node, books: Books) -> None:
    """Compare the host's sums with its root devices, and those with the loads themselves."""
    windows, seconds, total_uj = books.windows, books.seconds, books.total_uj
    added = [window for window in windows if window.flags & Flag.ROOT]
    assert {str(window.device) for window in added} == set(node.truth)
    assert total_uj == sum(window.energy_uj for window in added)
    sums_mj = dict.fromkeys(("cpu", "gpu", "memory", "other"), 0)
    for second in seconds:
        for kind in sums_mj:
            sums_mj[kind] += getattr(second, f"{kind}_mj")
    assert max(second.expected for second in seconds) == len(
        {(window.device, window.domain) for window in added}
    )
    expected_uj, most_uj = dict.fromkeys(sums_mj, 0), 0
    for device, load in node.truth.items():
        kind = node.kinds[device]
        own = [window for window in added if str(window.device) == device]
        begin_ns = min(window.start_mono_ns for window in own)
        end_ns = max(window.start_mono_ns + window.duration_ns for window in own)
        assert end_ns - begin_ns > (SECONDS - 1) * NS
        start = node.start_mono_ns
        truth_uj = energy_uj(load, begin_ns - start, end_ns - start)
        slack_uj = 2 * energy_uj(load, end_ns - start, end_ns - start + node.refresh_ns[kind])
        assert sum(w.energy_uj for w in own) == pytest.approx(truth_uj, abs=slack_uj), device
        expected_uj[kind] += sum(w.energy_uj for w in own)
        most_uj += truth_uj + slack_uj
    for kind, energy in expected_uj.items():
        assert sums_mj[kind] == pytest.approx(energy / 1000, abs=1), kind
    assert total_uj <= most_uj


def test_a_dgx(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, players: list[Any]
) -> None:
    """Eight GPUs, each with three sensors of its board, and two sockets with nested zones."""
    tree = PowercapTree(folder)
    tree.cpuinfo()
    cpus = [tree.zone(f"intel-rapl:{n}", f"package-{n}") for n in range(2)]
    inner = {tree.zone(f"intel-rapl:{n}:0", "core"): steady(70_000) for n in range(2)}
    cpu_loads = {zone: steady(110_000 + 20_000 * n) for n, zone in enumerate(cpus)}
    gpus = [nvml.gpu(n, ramp(100_000, 700_000, (20 + n) * NS)) for n in range(1, 9)]
    player = Player({**cpu_loads, **inner})
    start_ns = player.start()
    players += [player, Closing(tree)]
    write_scenario(folder, gpus, start_ns)
    for name, value in nvml.environment(folder).items():
        monkeypatch.setenv(name, value)
    of_gpus = {f"gpu/{gpu.texts['uuid']}": gpu.load for gpu in gpus}
    of_cpus = {f"cpu/{n}": load for n, load in enumerate(cpu_loads.values())}
    rapl = {"sysfs": str(tree.sysfs), "procfs": str(tree.procfs)}
    node = Node(
        {"nvml": {}, "rapl_powercap": rapl},
        start_ns,
        {**of_gpus, **of_cpus},
        dict.fromkeys(of_gpus, "gpu") | dict.fromkeys(of_cpus, "cpu"),
        {"gpu": 100 * MS, "cpu": 5 * MS},
    )
    found, shown = sensors(node, tmp_path)
    assert roots(found) == sorted(
        [(gpu, "BOARD", "ENERGY") for gpu in of_gpus]
        + [(cpu, "PACKAGE", "ENERGY") for cpu in of_cpus]
    )
    assert len(found) == 8 * 3 + 2 * 2
    assert shown.count("instant") == shown.count("average") == 8
    books = watch(node, tmp_path)
    assert len({(w.device, w.domain, w.statistic) for w in books.windows}) == len(found)
    check_counted_once(node, books)


def test_a_grace_hopper(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, players: list[Any]
) -> None:
    """Module power comes by two ways, and the GPU's counter is the module's: none is added."""
    gpu_load, cpu_load = ramp(200_000, 600_000, 40 * NS), ramp(90_000, 150_000, 40 * NS)
    whole = [(at_ns, power_mw + cpu_load[n][1] + 50_000)
             for n, (at_ns, power_mw) in enumerate(gpu_load)]  # fmt: skip
    meters = {"Grace": cpu_load, "CPU": steady(60_000), "SysIO": steady(20_000), "Module": whole}
    files = [
        add_gauge(folder / "sys", number, f"{part} Power Socket 0", load)
        for number, (part, load) in enumerate(meters.items())
    ]
    chips = nvml.superchip(
        1, gpu_load, module=whole, memory=steady(60_000), first_cpu=0, energy_of_module=1
    )
    start_ns = write_scenario(folder, chips)
    players.append(FilePlayer(tmp_path / "meters", files, start_ns))
    for name, value in nvml.environment(folder).items():
        monkeypatch.setenv(name, value)
    gpu = f"gpu/{chips[0].texts['uuid']}"
    node = Node(
        {"nvml": {}, "hwmon": {"sysfs": str(folder / "sys")}},
        start_ns,
        {gpu: gpu_load, "cpu/0": cpu_load},
        {gpu: "gpu", "cpu/0": "cpu"},
        {"gpu": 100 * MS, "cpu": 50 * MS},
    )
    found, shown = sensors(node, tmp_path)
    assert roots(found) == [("cpu/0", "PACKAGE", "AVERAGE"), (gpu, "BOARD", "INSTANT")]
    module = sorted(s["statistic"] for s in found if s["device"] == "module/0")
    assert module == ["AVERAGE", "ENERGY", "INSTANT"], "NVML's alone, named as hwmon's would be"
    assert "module/0" in shown
    check_counted_once(node, watch(node, tmp_path))


def test_a_module_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing inside the module reports, the module itself is what is added up."""
    load = ramp(400_000, 800_000, 40 * NS)
    chips = nvml.superchip(
        1, steady(300_000), module=load, first_cpu=0,
        scope_error_0=3, error_usage=3, energy_of_module=1,
    )  # fmt: skip
    start_ns = write_scenario(folder, chips)
    for name, value in nvml.environment(folder).items():
        monkeypatch.setenv(name, value)
    node = Node(
        {"nvml": {}}, start_ns, {"module/0": load}, {"module/0": "other"}, {"other": 100 * MS}
    )
    found, _ = sensors(node, tmp_path)
    assert roots(found) == [("module/0", "MODULE", "ENERGY")]
    check_counted_once(node, watch(node, tmp_path))


def test_a_grace_hopper_whose_gpu_tells_its_module_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, players: list[Any]
) -> None:
    """The module is the only one that holds the GPU's energy; Grace is inside it, and seen."""
    cpu_load, whole = ramp(90_000, 150_000, 40 * NS), ramp(400_000, 800_000, 40 * NS)
    meters = {"Grace": cpu_load, "CPU": steady(60_000), "Module": whole}
    files = [
        add_gauge(folder / "sys", number, f"{part} Power Socket 0", load)
        for number, (part, load) in enumerate(meters.items())
    ]
    chips = nvml.superchip(
        1, steady(300_000), module=whole, first_cpu=0,
        scope_error_0=3, error_usage=3, energy_of_module=1,
    )  # fmt: skip
    start_ns = write_scenario(folder, chips)
    players.append(FilePlayer(tmp_path / "meters", files, start_ns))
    for name, value in nvml.environment(folder).items():
        monkeypatch.setenv(name, value)
    node = Node(
        {"nvml": {}, "hwmon": {"sysfs": str(folder / "sys")}, "estimate": {}},
        start_ns,
        {"module/0": whole},
        {"module/0": "other"},
        {"other": 100 * MS},
    )
    found, shown = sensors(node, tmp_path)
    assert roots(found) == [("module/0", "MODULE", "ENERGY")]
    assert ("cpu/0", "PACKAGE") in {(s["device"], s["domain"]) for s in found}
    assert "  package" in shown, "a nested domain is indented"
    books = watch(node, tmp_path)
    assert "cpu/0" in {str(window.device) for window in books.windows}
    check_counted_once(node, books)


def test_an_mi300x_node_in_cpx_mode(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sockets in eight partitions each, all of which repeat their socket's power."""
    sockets, partitions = [], []
    for n in range(2):
        bus = f"0000:{0xC1 + n:02x}:00"
        load = ramp(200_000, 700_000, (30 + n) * NS)
        sockets.append(FakeDevice(f"s{n}", load, texts={"bdf": f"{bus}.0"}))
        partitions += [
            FakeDevice(f"s{n}p{k}", load, {"share": n, "partition": k}, {"bdf": f"{bus}.{k}"})
            for k in range(1, 8)
        ]
    start_ns = write_scenario(folder, [*sockets, *partitions])
    monkeypatch.setenv("LD_LIBRARY_PATH", str(amd_smi_folder()))
    monkeypatch.setenv("CHIPWATT_FAKE_DIR", str(folder))
    monkeypatch.setenv("ROCM_PATH", str(folder))
    loads = {f"gpu/{socket.texts['bdf']}": socket.load for socket in sockets}
    settings = {"amdsmi": {"check_seconds": 0.1}}
    node = Node(settings, start_ns, dict(loads), dict.fromkeys(loads, "gpu"), {"gpu": 5 * MS})
    found, _ = sensors(node, tmp_path)
    assert roots(found) == sorted((gpu, "BOARD", "ENERGY") for gpu in loads)
    check_counted_once(node, watch(node, tmp_path))


class Closing:
    """Closes a tree where players are stopped."""

    def __init__(self, tree: PowercapTree) -> None:
        self.stop = tree.close
