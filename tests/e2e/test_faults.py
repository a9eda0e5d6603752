"""Things that break while everything runs: what was acked stays, and people get a sentence."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.programs import Agent, Collector, alive, chipwatt, energy_uj, no_traceback, until
from fakes.powercap import Player, PowercapTree
from fakes.scenario import steady

pytestmark = pytest.mark.e2e


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PowercapTree]:
    made = PowercapTree(tmp_path / "machine")
    made.cpuinfo()
    made.zone("intel-rapl:0", "package-0")
    made.zone("intel-rapl:0:1", "dram")
    yield made
    made.close()


def settings(tree: PowercapTree) -> dict[str, object]:
    own = {"sysfs": tree.sysfs, "procfs": tree.procfs}
    return {"sensing": {"sources": ["rapl_powercap"]}, "sources": {"rapl_powercap": own}}


def truth(tree: PowercapTree) -> dict[str, int]:
    package, dram = tree.zones
    return {"cpu/0 package": package.true_uj, "cpu/0 dram": dram.true_uj}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_killed_collector_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, tree: PowercapTree
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    player = Player({zone: steady(120_000) for zone in tree.zones})
    collector = Collector(tmp_path / "collector", listen)
    with Agent(tmp_path / "agent", listen, settings(tree)) as agent:
        with collector.client() as client:
            until(lambda: client.status().host_seconds_stored > 0, what="the first second")
            player.start()
            until(lambda: client.status().host_seconds_stored >= 3)
        collector.kill()
        time.sleep(2)
        with Collector(tmp_path / "collector", listen) as again, again.client() as client:
            before = client.status()
            assert before.host_seconds_stored >= 3, "what was acked is there after a power cut"
            until(lambda: client.status().host_seconds_stored >= before.host_seconds_stored + 5, 40)
            player.stop()
            time.sleep(0.5)
            assert agent.stop() == 0
            assert agent.status()["spool"]["unacked"] == 0
            assert energy_uj(client) == truth(tree)
            starts = [s.start_unix_ns for s in client.host_seconds(next(client.hosts()).host_id)]
            assert len(starts) == len(set(starts))
            assert client.status().conflicts == 0
        no_traceback(agent.said(), collector.said(), again.said())


@pytest.mark.parametrize("victim", ["agent", "sensing"])
def test_a_killed_agent_goes_on_where_its_spool_ends(
    tmp_path: Path, tree: PowercapTree, victim: str
) -> None:
    player = Player({zone: steady(80_000) for zone in tree.zones})
    with Collector(tmp_path / "collector") as collector, collector.client() as client:
        agent = Agent(tmp_path / "agent", collector.address, settings(tree))
        until(lambda: client.status().host_seconds_stored > 0, what="the first second")
        player.start()
        until(lambda: client.status().host_seconds_stored >= 3)
        sensing = until(lambda: agent.status().get("sensing", {}).get("pid"))
        if victim == "agent":
            agent.kill()
            until(lambda: not alive(sensing), what="the sensing process outlives its agent")
            agent = Agent(tmp_path / "agent", collector.address, settings(tree))
        else:
            os.kill(sensing, signal.SIGKILL)
        stored = client.status().host_seconds_stored
        until(lambda: client.status().host_seconds_stored >= stored + 3, 30)
        player.stop()
        time.sleep(0.5)
        assert agent.stop() == 0
        sums = energy_uj(client)
        gaps = list(client.gaps(next(client.hosts()).host_id))
        for key, true_uj in truth(tree).items():
            mine = [gap for gap in gaps if f"{gap.device} {gap.domain.name.lower()}" == key]
            low_uj = sums[key] + sum(gap.lower_uj for gap in mine)
            high_uj = sums[key] + sum(gap.upper_uj for gap in mine)
            assert low_uj <= true_uj <= high_uj, (key, sums[key], true_uj, mine)
        no_traceback(agent.said(), collector.said())


def test_an_absent_collector_is_waited_for(tmp_path: Path, tree: PowercapTree) -> None:
    listen = f"127.0.0.1:{free_port()}"
    with Agent(tmp_path / "agent", listen, settings(tree)) as agent:
        until(lambda: agent.status().get("spool", {}).get("unacked", 0) >= 2, what="a spool")
        with Collector(tmp_path / "collector", listen) as collector, collector.client() as client:
            until(lambda: client.status().host_seconds_stored >= 2, 40)
            assert agent.stop() == 0
            assert agent.status()["spool"]["unacked"] == 0
    no_traceback(agent.said(), collector.said())


def test_a_second_collector_on_the_same_port_is_told_so(tmp_path: Path) -> None:
    with Collector(tmp_path / "one") as first:
        second = chipwatt(
            "collector", "--listen", first.address, "--state-dir", tmp_path / "two" / "state"
        )
        assert second.returncode == 69
        assert first.address in second.stderr
        assert "in use" in second.stderr
        same_state = chipwatt(
            "collector", "--listen", "127.0.0.1:0", "--state-dir", tmp_path / "one" / "state"
        )
        assert same_state.returncode not in (0, 1)
        no_traceback(second.stderr, same_state.stderr)


def test_an_unknown_parent_in_the_topology_names_file_and_line(tmp_path: Path) -> None:
    topology = tmp_path / "power.toml"
    topology.write_text(
        '[[node]]\nid = "row-1"\nkind = "row"\n\n'
        '[[node]]\nid = "rack-1"\nkind = "rack"\nparents = ["row-2"]\n'
    )
    result = chipwatt(
        "collector", "--topology", topology, "--state-dir", tmp_path / "state",
        "--listen", "127.0.0.1:0",
    )  # fmt: skip
    assert result.returncode == 78
    assert "row-2" in result.stderr
    assert f"{topology}:6" in result.stderr, "the line that names the node"
    assert len(result.stderr.strip().splitlines()) == 1
    up = chipwatt("up", "--for", "2s", "--topology", topology)
    assert up.returncode != 0
    assert "row-2" in up.stderr
    no_traceback(result.stderr, up.stderr)


def test_an_otlp_endpoint_that_refuses_delays_no_ack(tmp_path: Path, tree: PowercapTree) -> None:
    otlp = {"endpoint": f"http://127.0.0.1:{free_port()}", "interval": "1s", "settle": "0s"}
    own = {"otlp": otlp, "privacy": {"egress": "operator"}}
    with Collector(tmp_path / "collector", settings=own) as collector:
        with (
            collector.client() as client,
            Agent(tmp_path / "agent", collector.address, settings(tree)) as agent,
        ):
            until(lambda: client.status().host_seconds_stored >= 4)
            assert client.status().otlp_points_sent == 0
            assert agent.stop() == 0
            assert agent.status()["spool"]["unacked"] == 0
        assert collector.stop() == 0
        no_traceback(collector.said(), agent.said())


def test_a_host_without_sensors_and_estimates_says_why(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[sensing]\nsources = ["rapl_powercap", "nvml"]\n'
        f'[sources.rapl_powercap]\nsysfs = "{tmp_path}"\n'
    )
    result = chipwatt("sensors", "--config", config, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    by_name = {each["name"]: each for each in found["interfaces"]}
    assert by_name["rapl_powercap"]["reason"] == "NOT_PRESENT"
    assert not by_name["nvml"]["present"] or by_name["nvml"]["sensors"]
    assert by_name["estimate"]["reason"] == "DISABLED"
