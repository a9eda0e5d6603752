"""From the sensing process to the spool: groups payloads, outlives a disk that refuses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.core import log
from chipwatt.core.backoff import delays_s
from chipwatt.core.errors import SpoolError
from chipwatt.core.wire import MAX_PAYLOAD_BYTES

GROUP_BYTES = 512 << 10
"""What one fsync covers, at most."""
ROOM_BYTES = 1 << 20
"""With more than this on its way to a disk that works, the sensing process waits."""
HOLD_BYTES = 8 << 20
"""What is kept in memory for a disk that does not: hours of a large host's windows."""
_log = log.get(__name__)

Record = tuple[bytes, bytes]


class Intake:
    """Payloads with their memories on their way to the disk, in order."""

    def __init__(
        self,
        spool: ThreadedSpool,
        hold_bytes: int = HOLD_BYTES,
        retries: Callable[[], Iterator[float]] = lambda: delays_s(0.2, 5.0),
    ) -> None:
        self._spool = spool
        self._hold_bytes = hold_bytes
        self._retries = retries
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._writing = 0
        self._changed = asyncio.Event()
        self.memory = spool.memory
        """What a sensing process that is started now has to go on from."""
        self.received = 0
        self.dropped = 0
        """Payloads given up: too many while the disk refused, or too large for any collector."""
        self.problem = ""
        """The sentence of the disk's refusal while it lasts."""

    def __len__(self) -> int:
        """Count the payloads that are not on the disk yet."""
        return len(self._waiting) + self._writing

    def put(self, payload: bytes, memory: bytes) -> None:
        """Take one payload over."""
        self.received += 1
        self.memory = memory
        if len(payload) > MAX_PAYLOAD_BYTES:
            self.dropped += 1
            _log.error("payload too large for any collector dropped", bytes=len(payload))
            return
        self._waiting.append((payload, memory))
        self._waiting_bytes += len(payload) + len(memory)
        while self._waiting_bytes > self._hold_bytes and len(self._waiting) > 1:
            self._take_first()
            self.dropped += 1
            _log.error("payload dropped: the disk refuses and memory is full")
        self._changed.set()

    async def room(self) -> None:
        """Return once more may come; at once where waiting would not help."""
        while self._waiting_bytes > ROOM_BYTES and not self.problem:
            await self._change()

    async def flush(self) -> None:
        """Return once everything is on the disk."""
        while len(self):
            await self._change()

    async def run(self) -> None:
        """Write until cancelled; a disk that refuses is tried again and again."""
        retries = self._retries()
        while True:
            if not self._waiting:
                await self._change()
                continue
            group = self._take_group()
            try:
                await self._spool.append(group)
            except SpoolError as error:
                if str(error) != self.problem:
                    _log.error("not spooling", reason=error)
                self.problem = str(error)
                self._put_back(group)
                self._wake()
                await asyncio.sleep(next(retries))
                continue
            if self.problem:
                _log.info("spooling again", held=len(self._waiting))
                self.problem, retries = "", self._retries()
            self._writing = 0
            self._wake()

    def _take_group(self) -> list[Record]:
        group = [self._take_first()]
        room = GROUP_BYTES - len(group[0][0])
        while self._waiting and (room := room - len(self._waiting[0][0])) >= 0:
            group.append(self._take_first())
        self._writing = len(group)
        return group

    def _put_back(self, group: list[Record]) -> None:
        self._waiting.extendleft(reversed(group))
        self._waiting_bytes += sum(len(payload) + len(memory) for payload, memory in group)
        self._writing = 0

    def _take_first(self) -> Record:
        record = self._waiting.popleft()
        self._waiting_bytes -= len(record[0]) + len(record[1])
        return record

    def _wake(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
