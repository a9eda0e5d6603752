"""SIGTERM: what the agent took it has spooled, and the next start delivers it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.programs import Agent, Collector, energy_uj, no_traceback, until
from fakes.powercap import Player, PowercapTree
from fakes.scenario import steady

pytestmark = pytest.mark.e2e
NOBODY = "127.0.0.1:1"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PowercapTree]:
    made = PowercapTree(tmp_path / "machine")
    made.cpuinfo()
    made.zone("intel-rapl:0", "package-0")
    yield made
    made.close()


def settings(tree: PowercapTree) -> dict[str, object]:
    own = {"sysfs": tree.sysfs, "procfs": tree.procfs}
    return {
        # Nothing is handed out before the end but what the end hands out.
        "sensing": {"sources": ["rapl_powercap"], "window": "60s", "batch": "60s"},
        "sources": {"rapl_powercap": own},
        "drain_grace": "200ms",
    }


def test_a_window_under_way_is_on_the_disk_when_the_agent_ends(
    tmp_path: Path, tree: PowercapTree
) -> None:
    player = Player({zone: steady(120_000) for zone in tree.zones})
    agent = Agent(tmp_path / "agent", NOBODY, settings(tree))
    until(lambda: agent.status().get("sensing", {}).get("alive"), what="sensing")
    time.sleep(2)  # it has seen the counter's first value
    player.start()
    time.sleep(3)
    player.stop()
    time.sleep(0.5)
    assert agent.stop() == 0
    final = agent.status()
    assert final["ended"] is True
    assert final["spool"]["unacked"] >= 1
    assert final["spool"]["held"] == final["spool"]["held_dropped"] == 0
    with Collector(tmp_path / "collector") as collector, collector.client() as client:
        again = Agent(tmp_path / "agent", collector.address, settings(tree))
        waiting = final["spool"]["unacked"]
        until(lambda: again.status().get("uplink", {}).get("acked", 0) >= waiting, 40)
        assert again.stop() == 0
        (zone,) = tree.zones
        assert energy_uj(client) == {"cpu/0 package": zone.true_uj}
        assert list(client.gaps(next(client.hosts()).host_id)) == []
        no_traceback(agent.said(), again.said(), collector.said())
