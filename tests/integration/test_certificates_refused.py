"""Certificates that are no good, and connections that live too long, at a real collector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from chipwatt.collector.access.config import AccessConfig
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration
from fakes.certified import Certified, connect
from fakes.secured_collector import cannot_open, end, opened, secured
from fakes.telemetry_records import a_host


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 100))


def test_a_certificate_that_expires_ends_its_live_stream_and_does_not_come_back(
    tmp_path: Path,
) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with secured(tmp_path, certified) as address:
            lasts_s = 4
            ends_s = time.time() + lasts_s
            files = certified.files("agent/node-7", lasts_s)
            async with (
                connect(address, files) as soon_over,
                certified.channel(address, "agent/node-8") as other,
            ):
                cut, kept = await opened(soon_over), await opened(other)
                assert await end(cut) is grpc.StatusCode.UNAUTHENTICATED
                assert time.time() < ends_s + 5, "long before the connection is an hour old"
                assert not kept.done()
                # On the connection that is still open, and on a new one.
                assert await cannot_open(soon_over) is grpc.StatusCode.UNAUTHENTICATED
            async with connect(address, files) as again:
                assert await cannot_open(again) is grpc.StatusCode.UNAVAILABLE

    run(test)


def test_foreign_and_swapped_certificates_are_refused(tmp_path: Path) -> None:
    certified, foreign = Certified(tmp_path), Certified(tmp_path / "foreign")
    node = certified.files("agent/node-7")
    other = certified.files("agent/node-8")

    async def test() -> None:
        async with secured(tmp_path, certified) as address:
            for files in (
                # Of another authority, with the right name; trusting ours all the same.
                foreign.files("agent/node-7"),
                # Somebody else's certificate without its key.
                replace(node, cert=other.cert),
            ):
                async with connect(address, files, ca=node.ca) as channel:
                    assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
            # An agent that answers for a collector: it names no address.
        impostor = grpc.aio.server()
        assert node.ca
        assert node.cert
        assert node.key
        pair = (node.key.read_bytes(), node.cert.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], node.ca.read_bytes(), True)
        port = impostor.add_secure_port("127.0.0.1:0", credentials)
        await impostor.start()
        async with connect(f"127.0.0.1:{port}", other) as channel:
            assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
        await impostor.stop(None)

    run(test)


def test_who_says_hello_as_another_host_is_still_itself(tmp_path: Path) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with (
            secured(tmp_path, certified) as address,
            certified.channel(address, f"agent/{a_host(7).hex()}") as node,
            certified.channel(address, "operator/ann") as ann,
        ):
            await opened(node)  # it says that it is host 9
            path = "/chipwatt.v1.QueryService/ListHosts"
            listed = await ann.unary_unary(path)(b"")
            assert a_host(7).hex().encode() in listed
            assert a_host(9).hex().encode() not in listed

    run(test)


def test_no_connection_outlives_its_age(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    age = AccessConfig(connection_age=Duration(NS_PER_S))

    async def test() -> None:
        async with (
            secured(tmp_path, certified, age) as address,
            certified.channel(address, "agent/node-7") as channel,
        ):
            began_s = time.monotonic()
            call = await opened(channel)
            assert await end(call) is not grpc.StatusCode.OK
            # Age with a tenth of jitter, and as much again as grace.
            assert time.monotonic() - began_s < 2.2 + 10
            (await opened(channel)).cancel()

    run(test)


def test_a_live_stream_under_an_authority_that_is_gone_ends_with_its_connection(
    tmp_path: Path,
) -> None:
    certified = Certified(tmp_path)
    age = AccessConfig(connection_age=Duration(NS_PER_S))

    async def test() -> None:
        files = certified.files("agent/node-7")
        async with secured(tmp_path, certified, age) as address:
            async with connect(address, files) as channel:
                call = await opened(channel)
                # The collector runs on; what was signed before is foreign from now on.
                certified.authority.renew()
                certified.collector()
                assert await end(call) is not grpc.StatusCode.OK
                assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
            # Not for want of trust in the collector: it is the agent that is refused.
            async with connect(address, files, ca=tmp_path / "ca.pem") as channel:
                assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
            async with certified.channel(address, "agent/node-7") as channel:
                (await opened(channel)).cancel()

    run(test)


def test_a_stream_that_says_nothing_is_ended(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    idle = AccessConfig(stream_idle=Duration(NS_PER_S))

    async def test() -> None:
        async with (
            secured(tmp_path, certified, idle) as address,
            certified.channel(address, "agent/node-7") as channel,
        ):
            call = await opened(channel)
            assert await end(call) is grpc.StatusCode.UNAVAILABLE
            assert (await call.details()).startswith("nothing came for 1 s")

    run(test)
