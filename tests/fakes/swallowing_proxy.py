"""A TCP proxy between agent and collector that can stop passing bytes on without closing.

What a cable that was pulled, a firewall that forgot the connection or a frozen
machine looks like to both ends: the kernel acknowledges, nobody answers.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self


class SwallowingProxy:
    """Passes bytes both ways to ``target`` (host:port) until ``swallowing``."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.swallowing = False
        """Bytes are read and lost, in both directions, also of new connections."""
        self.connections = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError):
            there = await asyncio.open_connection(self._host, self._port)
            for source, sink in ((reader, there[1]), (there[0], writer)):
                task = asyncio.create_task(self._pass_on(source, sink))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await source.read(1 << 16):
                    if not self.swallowing:
                        sink.write(data)
                        await sink.drain()
                if self.swallowing:
                    await asyncio.Event().wait()  # the other end never hears of the close either
        finally:
            sink.close()
