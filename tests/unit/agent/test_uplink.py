from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from chipwatt.agent import stream
from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.contract import SpoolCounts
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Uplink
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from fakes.telemetry_server import Behaviour, TelemetryServer
from fakes.uplink_rig import BOOT, FAST, HOST, poll, rig, run


def test_delivers_in_spool_order_and_settles(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path) as r:
            await r.append(*[b"%d" % n for n in range(50)])
            await r.spool.drained.wait()
            await r.append(b"one more")
            await r.spool.drained.wait()
            sequences = [key[2] for key in r.server.arrivals]
            assert sequences == list(range(1, 52))
            assert r.uplink.state.acked == 51
            assert r.uplink.state.connected
            assert r.uplink.state.refused == 0
            (hello,) = r.server.hellos
            assert (hello.host_id, hello.boot_id) == (HOST.host_id, BOOT)
            assert (hello.schema_version, hello.agent_version) == (1, 1_002_003)
            assert hello.sent_unix_ns == 12345

    run(test())


def test_lost_acks_are_sent_again_under_the_same_key(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path, behaviour=Behaviour(close_after=1)) as r:
            await r.append(*[b"%d" % n for n in range(10)])
            await r.server.wait_for(1)
            await r.until(lambda: len(r.server.hellos) > 3)
            assert len(r.server.stored) == 1  # never acked, so never anything beyond
            assert r.spool.counts.unacked == 10
            r.server.behaviour = Behaviour()
            await r.spool.drained.wait()
            assert r.payloads() == [b"%d" % n for n in range(10)]
            assert r.server.conflicts == []
            assert r.uplink.state.acked == 10
            assert r.uplink.state.streams > 1

    run(test())


def test_a_collector_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path) as r:
            await r.append(b"before")
            await r.spool.drained.wait()
            await r.server.stop()
            await r.append(b"while it is down")
            await r.until(lambda: "no collector answers" in r.uplink.state.last_error)
            assert r.server.address in r.uplink.state.last_error
            assert not r.uplink.state.connected
            await r.server.start()
            await r.spool.drained.wait()
            assert r.payloads() == [b"before", b"while it is down"]
            assert r.uplink.state.last_error == ""

    run(test())


def test_a_refused_record_is_settled_and_never_sent_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path, behaviour=Behaviour(refuse=frozenset({2, 5}))) as r:
            await r.append(*[b"%d" % n for n in range(1, 6)])
            await r.spool.drained.wait()
            assert r.payloads() == [b"1", b"3", b"4"]
            assert (r.uplink.state.acked, r.uplink.state.refused) == (3, 2)

    run(test())


def test_a_record_over_the_collectors_limit_is_refused_here(tmp_path: Path) -> None:
    async def test() -> None:
        small = Behaviour(welcome=pb.Welcome(schema_version=1, max_batch_bytes=100))
        async with rig(tmp_path, behaviour=small) as r:
            await r.append(b"fits", bytes(101), b"fits, too")
            await r.spool.drained.wait()
            assert r.payloads() == [b"fits", b"fits, too"]
            assert r.uplink.state.refused == 1

    run(test())


@pytest.mark.parametrize(("ours", "theirs", "most"), [(64, 4, 4), (3, 8, 3), (5, 0, 5)])
def test_no_more_under_way_than_both_allow(
    tmp_path: Path, ours: int, theirs: int, most: int
) -> None:
    async def test() -> None:
        welcome = pb.Welcome(schema_version=1, max_in_flight=theirs)
        holding = Behaviour(hold_acks=True, welcome=welcome)
        async with rig(tmp_path, replace(FAST, max_in_flight=ours), holding) as r:
            await r.append(*[b"%d" % n for n in range(20)])
            await r.server.wait_for(1 + most)
            await asyncio.sleep(0.1)
            assert r.server.max_unanswered == most

    run(test())


def test_a_collector_that_answers_nothing_sees_one_record(tmp_path: Path) -> None:
    """However often it takes a stream: what was shown to it can no longer be merged."""

    async def test() -> None:
        async with rig(tmp_path, behaviour=Behaviour(close_after=1)) as r:
            await r.append(*[b"%d" % n for n in range(20)])
            await r.until(lambda: len(r.server.hellos) > 5)
            assert len({arrival[2] for arrival in r.server.arrivals}) == 1

    run(test())


def test_a_wrong_version_keeps_spooling_and_asks_rarely(tmp_path: Path) -> None:
    async def test() -> None:
        refusing = Behaviour(abort_hello=grpc.StatusCode.FAILED_PRECONDITION)
        async with rig(tmp_path, behaviour=refusing) as r:
            await r.append(b"kept")
            await r.until(lambda: "refuses this agent" in r.uplink.state.last_error)
            await asyncio.sleep(0.2)
            assert len(r.server.hellos) == 1
            assert r.spool.counts.unacked == 1

    run(test())


def test_a_stream_cancelled_by_the_collector_is_opened_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path, behaviour=Behaviour(cancel_after=1)) as r:
            await r.append(b"a", b"b")
            await r.until(lambda: len(r.server.hellos) >= 2)
            r.server.behaviour = Behaviour(abort_hello=grpc.StatusCode.CANCELLED)
            await r.until(lambda: len(r.server.hellos) >= 5)
            r.server.behaviour = Behaviour()
            await r.spool.drained.wait()
            assert r.payloads() == [b"a", b"b"]

    run(test())


def test_a_collector_that_says_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HELLO_TIMEOUT_S", 0.1)

    async def test() -> None:
        async with rig(tmp_path, behaviour=Behaviour(silent=True)) as r:
            await r.append(b"a")
            await r.until(lambda: "sent no welcome" in r.uplink.state.last_error)
            r.server.behaviour = Behaviour()
            await r.spool.drained.wait()

    run(test())


def test_a_pause_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        one = pb.Welcome(schema_version=1, max_in_flight=1)
        async with rig(tmp_path, behaviour=Behaviour(pause_ms=150, welcome=one)) as r:
            await r.append(b"a", b"b", b"c")
            await r.spool.drained.wait()
            first, second, third = r.server.arrival_times
            assert second - first > 0.14
            assert third - second > 0.14

    run(test())


def test_zstd_when_it_helps(tmp_path: Path) -> None:
    async def test() -> None:
        async with rig(tmp_path, replace(FAST, compression="zstd")) as r:
            await r.append(bytes(5000))
            await r.spool.drained.wait()
            assert r.server.encodings == {pb.ENCODING_ZSTD}
            assert r.uplink.state.sent_bytes < 100
            await r.append(b"short")
            await r.spool.drained.wait()
            assert r.server.encodings == {pb.ENCODING_ZSTD, pb.ENCODING_PLAIN}
            assert r.payloads() == [bytes(5000), b"short"]

    run(test())


def test_mutual_tls_with_certificates_renewed_on_disk(tmp_path: Path) -> None:
    ca = trustme.CA()
    server_cert = ca.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(server_cert.private_key_pem.bytes(), server_cert.cert_chain_pems[0].bytes())],
        ca.cert_pem.bytes(),
        require_client_auth=True,
    )
    files = {name: tmp_path / name for name in ("ca", "cert", "key")}
    files["ca"].write_bytes(ca.cert_pem.bytes())

    def issue(by: trustme.CA) -> None:
        mine = by.issue_cert("agent.example")
        files["cert"].write_bytes(mine.cert_chain_pems[0].bytes())
        files["key"].write_bytes(mine.private_key_pem.bytes())

    async def test() -> None:
        issue(trustme.CA())  # of a CA that the collector does not know
        server = TelemetryServer()
        await server.start(credentials)
        tls = TlsConfig(files["ca"], files["cert"], files["key"])
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        uplink = Uplink(Endpoints([server.address]), FAST, tls, HOST, spool)
        running = asyncio.create_task(uplink.run())
        await spool.append([(b"secret", b"")])
        await poll(lambda: bool(uplink.state.last_error))
        assert server.stored == {}
        issue(ca)
        await spool.drained.wait()
        assert list(server.stored.values()) == [b"secret"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await spool.close()
        await server.stop()

    run(test())


def test_an_unreadable_certificate_is_a_sentence_and_is_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        config = replace(FAST, retry_refused=Duration(20 * NS_PER_MS))
        missing = tmp_path / "missing.pem"
        tls = TlsConfig(missing, missing, missing)
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        uplink = Uplink(Endpoints(["127.0.0.1:1"]), config, tls, HOST, spool)
        running = asyncio.create_task(uplink.run())
        await poll(lambda: "missing.pem: TLS file cannot be" in uplink.state.last_error)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert spool.counts == SpoolCounts()
        await spool.close()

    run(test())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": "gzip"}, "none of none, zstd"),
        ({"max_in_flight": 0}, "at least 1"),
        ({"retry_least": Duration(2), "retry_most": Duration(1)}, "at most retry_most"),
        ({"retry_refused": Duration(0)}, "retry_refused"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(FAST, **changes)
