"""Questions to a collector from the command line: tables for people, integers for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.programs import NS, Collector, chipwatt, no_traceback

pytestmark = pytest.mark.e2e
FOREVER = {f"retention_{tier}": "36500d" for tier in ("raw", "1min", "10min", "1h")}
START_NS = 1_700_000_000 * NS
LAST = "36500d"
TOPOLOGY = """\
[[node]]
id = "rack-1"
kind = "rack"
budget = "10kW"
"""


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that holds one replayed trace of a GPU between 100 and 300 W and a CPU."""
    folder = tmp_path_factory.mktemp("questions")
    trace = folder / "trace.csv"
    lines = ["unix_ns,device,power_mw"]
    for step in range(600):
        stamp_ns = START_NS + step * NS // 10
        lines.append(f"{stamp_ns},gpu/0,{300_000 if step // 5 % 2 else 100_000}")
        lines.append(f"{stamp_ns},cpu/0,{40_000 + step}")
    trace.write_text("\n".join(lines) + "\n")
    topology = folder / "power.toml"
    topology.write_text(TOPOLOGY)
    kept = folder / "kept"
    assert chipwatt("replay", trace, "--state-dir", kept).returncode == 0
    settings = {"store": FOREVER, "topology": topology}
    with Collector(
        folder / "look", "127.0.0.1:0", settings, "--state-dir", kept / "collector"
    ) as running:
        yield running
        no_traceback(running.said())


def ask(collector: Collector, *args: object) -> str:
    result = chipwatt(*args, "--collector", collector.address)
    assert result.returncode == 0, result.stderr
    no_traceback(result.stderr)
    return result.stdout


def test_hosts(collector: Collector) -> None:
    host = json.loads(ask(collector, "hosts", "--json"))
    assert host["devices"] == 2
    assert not host["connected"]
    assert host["host_id"] in ask(collector, "hosts")


def test_windows_as_json_lines_add_up(collector: Collector) -> None:
    lines = ask(collector, "query", "windows", "--last", LAST, "--json").splitlines()
    windows = [json.loads(line) for line in lines]
    assert {window["device"] for window in windows} == {"gpu/0", "cpu/0"}
    gpu = [window for window in windows if window["device"] == "gpu/0"]
    assert all("REPLAYED" in window["flags"] for window in windows)
    assert sum(window["energy_uj"] for window in gpu) == pytest.approx(200 * 60 * 10**6, rel=0.01)
    assert max(window["max_mw"] for window in gpu) == 300_000
    narrow = ask(collector, "query", "windows", "--last", LAST, "--device", "gpu", "--json")
    assert len(narrow.splitlines()) == len(gpu)


def test_roll_ups_keep_the_energy(collector: Collector) -> None:
    sums = [
        sum(
            json.loads(line)["energy_uj"]
            for line in ask(
                collector, "query", "windows", "--last", LAST, "--json", "--resolution", resolution
            ).splitlines()
        )
        for resolution in ("finest", "1min", "1h")
    ]
    assert sums[0] > 0
    assert len(set(sums)) == 1


def test_seconds_and_tables(collector: Collector) -> None:
    seconds = ask(collector, "query", "seconds", "--last", LAST, "--json").splitlines()
    assert len(seconds) in (60, 61)
    table = ask(collector, "query", "windows", "--last", LAST)
    assert table.splitlines()[0].split()[:3] == ["start", "length", "device"]
    assert "300 W" in table
    assert "nothing is stored" in ask(collector, "query", "gaps", "--last", "1min")


def test_profile_for_people_and_programs(collector: Collector) -> None:
    text = ask(collector, "profile", "--last", LAST, "--device", "gpu/0")
    for word in ("p99", "peak 1 s", "time spent at each power", "replay", "integrated", "300 W"):
        assert word in text, word
    assert "cpu/0" not in text
    found = json.loads(ask(collector, "profile", "--last", LAST, "--json"))
    by_device = {profile["device"]: profile for profile in found["profiles"]}
    gpu = by_device["gpu/0"]
    assert gpu["min_mw"] == 100_000
    assert gpu["max_mw"] == 300_000
    assert 195_000 < gpu["mean_mw"] < 205_000
    assert gpu["p50_mw"] <= gpu["p90_mw"] <= gpu["p99_mw"]
    assert gpu["energy_uj"] == sum(window["energy_uj"] for window in gpu["over_time"])
    assert sum(gpu["histogram"]["counts_ms"]) == pytest.approx(59_900, abs=200)


def test_headroom_knows_the_topology(collector: Collector) -> None:
    answers = [json.loads(line) for line in ask(collector, "headroom", "--json").splitlines()]
    rack = next(answer for answer in answers if answer["node_id"] == "rack-1")
    assert rack["kind"] == "rack"
    assert rack["budget_mw"] == 10_000_000
    assert "rack-1" in ask(collector, "headroom", "rack-1")


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["query", "windows", "--host", "elsewhere"], "no host is called 'elsewhere'"),
        (["profile", "--device", "gpu/7"], "fits none of the host's devices: "),
        (["headroom", "rack-9"], "rack-9"),
    ],
)
def test_a_wrong_name_is_one_sentence(
    collector: Collector, args: list[str], complaint: str
) -> None:
    result = chipwatt(*args, "--collector", collector.address)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_nobody_at_the_address() -> None:
    result = chipwatt("hosts", "--collector", "127.0.0.1:1")
    assert result.returncode == 69
    assert "no collector answers at 127.0.0.1:1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_completion_knows_every_command() -> None:
    for shell in ("bash", "zsh", "tcsh"):
        result = chipwatt("completion", shell)
        assert result.returncode == 0, result.stderr
        for name in ("up", "replay", "headroom", "collector"):
            assert name in result.stdout
