"""Placement as a whole, where one part of it cannot do its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.collector.placement.assembly import Placement
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.core.errors import StoreError
from chipwatt.v1 import placement_pb2 as pb
from unit.collector.placement.fleet import Fleet, W
from unit.collector.placement.hall import a_request


def test_a_disk_that_takes_nothing_more_stops_no_warning(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.history()
    file = TopologyFile(fleet.path)
    placement = Placement(fleet.latest, fleet.clock.unix_ns, tmp_path / "state", file)
    placement.begin()
    placement.tick()
    connection = placement._book._file._connection
    placement._reservations.reserve(a_request(watts=20, ttl_s=5))
    ranked = placement._ranks.rank_candidates(
        pb.RankCandidatesRequest(demand=a_request(watts=20).demand)
    )
    connection.execute("PRAGMA query_only = 1")
    fleet.power = lambda _number, _second: 295 * W
    told = ""
    for _ in range(20):
        fleet.wait(1)
        fleet.hear(fleet.now_s, fleet.now_s + 1)
        try:
            placement.tick()
        except StoreError as error:
            told = str(error)
    assert "placement.sqlite" in told
    events, _ = placement._exact.events._log.after(0)
    over = {e.node_id for e in events if e.kind == pb.POWER_EVENT_KIND_THRESHOLD_2}
    assert "h1" in over
    again = placement._ranks.rank_candidates(
        pb.RankCandidatesRequest(demand=a_request(watts=20).demand)
    )
    assert ranked.candidates[0].feasible
    assert not again.candidates[0].feasible
    assert not placement._book.live()  # it has expired, whatever the disk says
    with pytest.raises(StoreError):
        placement._reservations.reserve(a_request("other", node_id="site"))
    connection.execute("PRAGMA query_only = 0")
    placement.tick()
    placement.close()
