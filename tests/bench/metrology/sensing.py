"""Runs the shipped sensing process on a rig and collects what it hands out."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench.metrology.rigs import Bench
from chipwatt.agent import sensing_link as link
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core import codec
from chipwatt.core.records import Records

NS_PER_S = 1_000_000_000


def settings(rate_hz: int) -> dict[str, Any]:
    """Return what the bench asks of the sensing process: this rate, and no thrift."""
    return {
        "max_rate": rate_hz,
        "cpu_budget": 1.0,
        "library_budget": 1.0,
        "batch": NS_PER_S,
        "window": 2 * NS_PER_S,
        # Several rigs at once play a chip of the same name.
        "exclusive": False,
    }


async def sense(
    bench: Bench, source: str, until_ns: int, settings: Mapping[str, Any]
) -> list[Records]:
    """Sample with ``source`` until ``until_ns`` after the load's start; return all records."""
    config = SensingConfig.from_plain(
        {**SensingConfig().to_plain(), "sources": [source], **settings}
    )
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chipwatt.agent.sensing_process",
            "--fd",
            str(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **bench.environment},
            stdin=asyncio.subprocess.DEVNULL,
        )
        theirs.close()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, link.encode(link.Start(config.to_plain(), bench.tables)))
        stop = loop.create_task(_stop_at(ours, bench.start_mono_ns + until_ns))
        collected: list[Records] = []
        reader = link.FrameReader()
        while data := await loop.sock_recv(ours, 1 << 16):
            collected += [
                codec.records_from_tables(codec.decode_tables(message.payload))
                for message in reader.feed(data)
                if isinstance(message, link.Payload)
            ]
        await stop
        code = await process.wait()
    if code != 0:
        raise RuntimeError(f"the sensing process ended with {code}")
    return collected


async def _stop_at(ours: socket.socket, mono_ns: int) -> None:
    await asyncio.sleep(max(0, mono_ns - time.monotonic_ns()) / NS_PER_S)
    await asyncio.get_running_loop().sock_sendall(ours, link.encode(link.Stop()))
