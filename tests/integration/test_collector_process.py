"""A collector as a process: kills, restarts, bad starts; nothing acked is lost, no traceback."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient
from chipwatt.core.codec import encode_tables, tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.errors import CollectorUnreachable
from chipwatt.core.tables import Table
from fakes.agent_stream import send, send_payloads
from fakes.collector_process import Running, collector, command
from fakes.telemetry_records import MINUTE_S, a_host, minute

H1, H2 = a_host(1), a_host(2)
W = 1_000


def just_now_s() -> int:
    return int(time.time()) - MINUTE_S


def test_a_device_that_cannot_be_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    good = minute(just_now_s())
    with collector(tmp_path) as one, CollectorClient(one.address) as client:
        tables = dict(tables_from_records(good[0]))
        devices = tables[SectionKind.DEVICE]
        twice_named = {**devices.columns, "ordinal": devices["ordinal"] + 1}
        tables[SectionKind.DEVICE] = Table(SectionKind.DEVICE, devices.rows, twice_named)
        answers = send_payloads(one.address, H1, [encode_tables(tables)])
        assert len(answers.refused) == 1
        assert send(one.address, H1, good, first_sequence=2).acked == 7
        status = client.status()
        assert (status.refused, status.batches_stored) == (1, 6)


def test_what_was_acked_survives_a_kill(tmp_path: Path) -> None:
    start_s = just_now_s()
    with collector(tmp_path) as one:
        assert send(one.address, H2, minute(start_s)).acked == 6
        with CollectorClient(one.address) as client:
            (before,) = client.latest()
        one.kill()
        with CollectorClient(one.address) as client, pytest.raises(CollectorUnreachable):
            client.status()
    with collector(tmp_path) as two, CollectorClient(two.address) as client:
        assert len(list(client.windows(H2.hex()))) == 12
        assert list(client.latest()) == [before]
        (site, host) = client.headroom()
        assert (site.node_id, host.node_id) == ("site", H2.hex())
        assert site.now_mw == host.now_mw == 200 * W
        assert (host.headroom_mw, host.binding_node_id) == (None, "")
        assert send(two.address, H2, minute(start_s)).acked == 6
        assert client.status().duplicates_absorbed == 6
        assert two.stop() == 0
    assert "Traceback" not in two.log.read_text()


def ends(*args: str) -> tuple[int, str]:
    result = subprocess.run(command(*args), capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout == ""
    return result.returncode, result.stderr


def test_a_second_collector_is_told_in_one_sentence(tmp_path: Path) -> None:
    with collector(tmp_path) as running:
        check_second(running, tmp_path / "other")


def check_second(running: Running, tmp_path: Path) -> None:
    code, words = ends("--listen", running.address, "--state-dir", str(tmp_path))
    assert code == 69
    assert words == (
        f"chipwatt collector: {running.address}: already in use, probably by another collector; "
        "stop that one or choose another address with --listen\n"
    )
    state = str(running.log.parent / "state")
    code, words = ends("--listen", "127.0.0.1:0", "--state-dir", state)
    assert code == 74
    assert len(words.splitlines()) == 1


def test_a_wrong_topology_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "topology.toml"
    path.write_text(
        '[[node]]\nid = "hall"\nkind = "site"\n\n'
        '[[node]]\nid = "feed-a"\nkind = "feed"\nparents = ["hal"]\n'
    )
    code, words = ends("--listen", "127.0.0.1:0", "--topology", str(path))
    assert code == 78
    assert words == (
        f"chipwatt collector: {path}:6: node 'feed-a' has an unknown parent 'hal'; "
        "did you mean 'hall'?\n"
    )


def test_an_otlp_endpoint_that_refuses_delays_nobody(tmp_path: Path) -> None:
    with collector(tmp_path, "--otlp-endpoint", "http://127.0.0.1:1") as one:
        assert send(one.address, H1, minute(just_now_s())).acked == 6
        assert one.stop() == 0
    assert "Traceback" not in one.log.read_text()
