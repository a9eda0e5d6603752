"""Whose telemetry stands behind which power node."""

from __future__ import annotations

from pathlib import Path

from chipwatt.collector.store.contract import HostRow
from fakes.telemetry_records import a_host
from unit.collector.placement.fleet import Fleet, W, text


def test_a_host_that_two_nodes_name_counts_once(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.path.write_text(text(hosts=2) + twin("again", "h0-name"))
    fleet.outlooks = fleet.opened()
    fleet.history((0, 1))
    fleet.latest.learn([HostRow(a_host(0), "h0-name", 0, fleet.clock.unix_ns(), 0, 0)])
    outlook = fleet.run(1, (0, 1))
    site, host, again = (outlook.topology.index[name] for name in ("site", "h0", "again"))
    assert outlook.now_mw[host] == fleet.power(0, fleet.now_s)
    assert outlook.newest_s[again] == 0
    assert outlook.now_mw[again] == 300 * W  # its nameplate: it was never heard
    assert outlook.now_mw[site] == 300 * W + sum(fleet.power(n, fleet.now_s) for n in (0, 1))


def twin(node_id: str, host: str) -> str:
    return (
        f'[[node]]\nid = "{node_id}"\nkind = "host"\nparents = ["r0"]\nrated = "300W"\n'
        f'host = "{host}"\n'
    )
