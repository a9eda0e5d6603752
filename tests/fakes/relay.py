"""A network between two real programs: a TCP relay that delays, stalls, holds and cuts."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from types import TracebackType
from typing import Self

_CHUNK = 1 << 14


class Relay:
    """Listens on a port of its own and passes on to ``target``; a context manager.

    Its fields may be set while it runs. A lost segment is what TCP makes of it:
    everything behind it comes later.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._chance = random.Random(seed)
        self.delay_s = 0.0
        """One way."""
        self.loss = 0.0
        """Share of segments that need a second attempt."""
        self.connections = 0
        """How many were ever accepted."""
        self.bytes = 0
        """Passed on so far, both ways."""
        self.kept: bytearray | None = None
        """Set to bytes, it grows by everything that is passed on."""
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._call(self._cut())

    def hold(self) -> None:
        """Pass nothing on and say nothing: the other side is gone without a word."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """Be a good network again."""
        self._call(self._listen())

    def _call(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        self._passing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _end(self) -> None:
        await self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        far: asyncio.StreamWriter | None = None
        self._open.add(writer)
        try:
            await self._passing.wait()
            far_reader, far = await asyncio.open_connection(*self._target)
            self._open.add(far)
            ways = [
                asyncio.ensure_future(self._pump(reader, far)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    self._open.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on; a segment leaves when it is due and all before it have left."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            while True:
                at_s, data = await due.get()
                await asyncio.sleep(max(0.0, at_s - self._loop.time()))
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
                self.bytes += len(data)
                if self.kept is not None:
                    self.kept += data

        delivering = asyncio.ensure_future(deliver())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    again_s = 0.0
                    while self._chance.random() < self.loss:
                        again_s += max(0.2, 2 * self.delay_s)  # TCP's time before it sends again
                    await due.put((self._loop.time() + self.delay_s + again_s, data))
                    await self._passing.wait()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
