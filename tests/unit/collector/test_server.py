"""The composition root: what opens is closed, whatever fails on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import grpc.aio
import pytest

from chipwatt.client import CollectorClient, RequestRefused
from chipwatt.collector.config import CollectorConfig, TlsConfig
from chipwatt.collector.listening import AddressUnavailable
from chipwatt.collector.server import Collector
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import VirtualClock
from chipwatt.core.errors import ChipwattError, CollectorUnreachable, ConfigError, StoreError
from chipwatt.core.records import Records
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.agent_stream import send
from fakes.certified import Certified
from fakes.telemetry_records import T0_S, a_host, a_window, steady

T = TypeVar("T")
NS = 1_000_000_000


def settings(folder: Path) -> CollectorConfig:
    return CollectorConfig(listen="127.0.0.1:0", state_dir=folder)


def ask(config: CollectorConfig, question: Callable[[str], T]) -> T:
    """Open a collector, put ``question`` to its address from a thread, and close it."""

    async def run() -> T:
        async with Collector(config, VirtualClock((T0_S + 12) * NS)) as collector:
            return await asyncio.to_thread(question, collector.address)

    return asyncio.run(run())


def refused(config: CollectorConfig, error: type[ChipwattError]) -> str:
    async def run() -> None:
        async with Collector(config):
            raise AssertionError("it opened")

    threads = threading.active_count()
    with pytest.raises(error) as caught:
        asyncio.run(run())
    assert threading.active_count() <= threads + 1  # grpc's own poller stays
    return str(caught.value)


def test_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def question(address: str) -> tuple[int, int]:
        records = Records(
            windows=(a_window(T0_S, 5),), host_seconds=steady(T0_S, [(7, 9)] * 10).host_seconds
        )
        send(address, a_host(1), [records])
        with CollectorClient(address) as client:
            site = client.headroom(["site"])[0]
            return client.status().device_windows_stored, site.now_mw

    assert ask(settings(tmp_path), question) == (1, 7)
    # The store is free again, and what was acked is in it.
    store = SqliteStore(StoreConfig(path=tmp_path / "store"))
    assert len(store.windows(a_host(1), 0, 1 << 62)) == 1
    store.close()


def test_an_address_in_use_is_found_before_the_store_is_touched(tmp_path: Path) -> None:
    def question(address: str) -> str:
        config = replace(settings(tmp_path / "second"), listen=address)
        return asyncio.run(opened(config))

    async def opened(config: CollectorConfig) -> str:
        with pytest.raises(AddressUnavailable) as caught:
            async with Collector(config):
                pass
        return str(caught.value)

    assert "already in use, probably by another collector" in ask(settings(tmp_path), question)
    assert not (tmp_path / "second").exists()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    config = replace(settings(tmp_path), listen="192.0.2.1:0", insecure_plaintext_over_network=True)
    assert refused(config, AddressUnavailable) == (
        "192.0.2.1:0: not an address of this machine; choose one with --listen"
    )


def test_a_store_that_cannot_be_opened_gives_the_address_back(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    words = refused(settings(tmp_path), StoreError)
    assert str(tmp_path / "store") in words
    (tmp_path / "store").unlink()

    def address_of(address: str) -> str:
        return address

    first = ask(settings(tmp_path), address_of)
    assert ask(replace(settings(tmp_path), listen=first), address_of) == first


def test_a_missing_topology_is_told_before_anything_opens(tmp_path: Path) -> None:
    config = replace(settings(tmp_path), topology=tmp_path / "none.toml")
    assert "none.toml: the topology file cannot be read" in refused(config, ChipwattError)
    assert not (tmp_path / "store").exists()


def test_with_tls_only_a_certificate_of_the_authority_with_a_role_gets_in(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    tls, ann = certified.collector(), certified.files("operator/ann")
    zoe = Certified(tmp_path / "other").files("operator/zoe")

    def question(address: str) -> int:
        with CollectorClient(address, ca=ann.ca, cert=ann.cert, key=ann.key) as known:
            stored = known.status().batches_stored
        # The collector's own certificate says nothing of a role.
        with (
            CollectorClient(address, ca=tls.ca, cert=tls.cert, key=tls.key) as own,
            pytest.raises(RequestRefused, match="no role"),
        ):
            own.status()
        for stranger in (
            CollectorClient(address, timeout_s=3),
            CollectorClient(address, timeout_s=3, ca=tls.ca, cert=zoe.cert, key=zoe.key),
        ):
            with stranger, pytest.raises(CollectorUnreachable):
                stranger.status()
        return stored

    assert ask(replace(settings(tmp_path), tls=tls), question) == 0


def test_tls_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    tls = TlsConfig(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    words = refused(replace(settings(tmp_path), tls=tls), ConfigError)
    assert words == f"{tmp_path / 'ca'}: TLS file cannot be read: No such file or directory"


def test_the_cadence_goes_out_with_each_welcome(tmp_path: Path) -> None:
    wanted = replace(settings(tmp_path), cadence=Duration(5 * NS))

    async def run() -> int:
        async with (
            Collector(wanted) as collector,
            grpc.aio.insecure_channel(collector.address) as channel,
        ):
            call = telemetry_pb2_grpc.TelemetryServiceStub(channel).Stream()
            hello = pb.Hello(schema_version=1, host_id=a_host(1), boot_id=bytes(16))
            await call.write(pb.StreamRequest(hello=hello))
            answer = await call.read()
            assert isinstance(answer, pb.StreamResponse)
            return answer.welcome.cadence_ms

    assert asyncio.run(run()) == 5000
