"""What ``tests.bench.hostile_peers`` lets loose on a collector: one attack in a process of its own.

``python -m tests.bench.hostile_attacks NAME ADDRESS FOLDER SECONDS`` with the certificates
that the bench wrote into FOLDER; prints what came of it as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import grpc
import grpc.aio

from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceStub
from fakes.certified import issued

HALF_OPEN = 900
IDLE = 200
_KIB = 1 << 10
_WHATIF = "/chipwatt.v1.PlacementService/WhatIf"
EMPTY_CHANGES = b"\x12\x00" * (63 * _KIB)
"""As many submessages as one request may have bytes for: two bytes each."""
EMPTY_SECTIONS = b"\x0a\x00" * (127 * _KIB)
BOMB = bytes(64 << 20)
Channel = Callable[[str], Any]
Attack = Callable[[str, Channel, "Counter[str]"], Coroutine[Any, Any, None]]


async def _ask(channel: Any, path: str, raw: bytes, got: Counter[str]) -> None:
    try:
        await channel.unary_unary(path)(raw)
        got["OK"] += 1
    except grpc.aio.AioRpcError as error:
        got[error.code().name] += 1


async def nothing(_: str, __: Channel, ___: Counter[str]) -> None:
    """Leave the collector alone."""


async def empty_submessages(_: str, channel: Channel, got: Counter[str]) -> None:
    """Ask with 64,512 empty changes, as fast as it is answered."""
    async with channel("placement/sched") as open_channel:
        while True:
            await _ask(open_channel, _WHATIF, EMPTY_CHANGES, got)


async def over_size(_: str, channel: Channel, got: Counter[str]) -> None:
    """The same with four times as many, more than the rpc takes."""
    async with channel("placement/sched") as open_channel:
        while True:
            await _ask(open_channel, _WHATIF, 4 * EMPTY_CHANGES, got)


async def empty_sections(_: str, channel: Channel, got: Counter[str]) -> None:
    """Send batches of 130,048 empty sections, as fast as they are refused."""
    async with channel("agent/evil") as open_channel:
        call: Any = TelemetryServiceStub(open_channel).Stream()
        await call.write(_hello())
        await call.read()
        sequence = 0
        while True:
            sequence += 1
            batch = pb.Batch(
                boot_id=bytes(16),
                spool_epoch=1,
                sequence=sequence,
                digest=digest(EMPTY_SECTIONS),
                encoding=pb.ENCODING_PLAIN,
                payload=EMPTY_SECTIONS,
            )
            await call.write(pb.StreamRequest(batch=batch))
            answer = await call.read()
            got[answer.WhichOneof("message")] += 1


async def gzip_bomb(_: str, channel: Channel, got: Counter[str]) -> None:
    """Send 64 MiB of zeros as 64 kB of gzip, as fast as they can be compressed."""
    async with channel("placement/sched") as open_channel:
        while True:
            call = open_channel.unary_unary(_WHATIF)
            try:
                await call(BOMB, compression=grpc.Compression.Gzip)
                got["OK"] += 1
            except grpc.aio.AioRpcError as error:
                got[error.code().name] += 1


async def half_open(address: str, _: Channel, got: Counter[str]) -> None:
    """Keep 900 TCP connections open that never say a word."""
    host, _colon, port = address.rpartition(":")
    held: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    while True:
        while len(held) < HALF_OPEN:
            one = socket.socket()
            one.setblocking(False)
            await loop.sock_connect(one, (host, int(port)))
            held.append(one)
            got["opened"] += 1
        await asyncio.sleep(0.1)
        alive = [one for one in held if not _is_closed(one)]
        for one in set(held) - set(alive):
            one.close()
        got["closed by the collector"] += len(held) - len(alive)
        held = alive


def _is_closed(one: socket.socket) -> bool:
    try:
        # A server may greet (HTTP/2 settings); an end of file is what it does in the end.
        while one.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


async def idle_streams(_: str, channel: Channel, got: Counter[str]) -> None:
    """Open 200 streams with one certificate, each on its own connection, and say nothing."""
    await asyncio.gather(*(_idle(channel, "agent/evil", got) for _ in range(IDLE)))


async def idle_hosts(_: str, channel: Channel, got: Counter[str]) -> None:
    """Open 200 streams of 200 certificates, say hello, and nothing more."""
    await asyncio.gather(*(_idle(channel, f"agent/idle-{n}", got, hello=True) for n in range(IDLE)))


async def _idle(channel: Channel, who: str, got: Counter[str], *, hello: bool = False) -> None:
    async with channel(who) as open_channel:
        call: Any = TelemetryServiceStub(open_channel).Stream(_silence(hello))
        try:
            while await call.read() is not grpc.aio.EOF:
                got["welcome"] += 1
        except grpc.aio.AioRpcError as error:
            got[error.code().name] += 1
        await asyncio.Event().wait()


async def _silence(hello: bool) -> AsyncIterator[pb.StreamRequest]:
    if hello:
        yield _hello()
    await asyncio.Event().wait()


async def not_allowed(_: str, channel: Channel, got: Counter[str]) -> None:
    """Ask what a role may not, as fast as it is refused."""
    async with channel("agent/evil") as open_channel:
        while True:
            await _ask(open_channel, "/chipwatt.v1.QueryService/ListWindows", b"", got)


def _hello() -> pb.StreamRequest:
    hello = pb.Hello(schema_version=SCHEMA_VERSION, host_id=bytes(16), boot_id=bytes(16))
    return pb.StreamRequest(hello=hello)


ATTACKS: dict[str, Attack] = {
    "nobody": nothing,
    "empty submessages": empty_submessages,
    "  the same, over size": over_size,
    "  in a batch": empty_sections,
    "gzip bomb": gzip_bomb,
    "900 half-open": half_open,
    "200 idle streams of one": idle_streams,
    "200 idle hosts": idle_hosts,
    "asks what it may not": not_allowed,
}


def main() -> int:
    """Attack for so many seconds, then say what came of it."""
    name, address, folder, seconds = sys.argv[1:]
    # The attacker's work is done on the attacker's machine: here it takes what is left over.
    os.nice(19)
    got: Counter[str] = Counter()

    def channel(who: str) -> Any:
        return issued(address, Path(folder), who)

    async def attack() -> None:
        print("begun", flush=True)
        try:
            async with asyncio.timeout(float(seconds)):
                await ATTACKS[name](address, channel, got)
        except TimeoutError:
            pass

    asyncio.run(attack())
    print(json.dumps(got), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
