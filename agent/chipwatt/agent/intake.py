"""From the sensing process to the spool: groups payloads, outlives a disk that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from chipwatt.agent.held import Held, Record
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
"""What is kept in memory for a disk that does not; from half of it on windows are merged."""
_log = log.get(__name__)


class Intake:
    """Payloads with their memories on their way to the disk, in order."""

    def __init__(
        self,
        spool: ThreadedSpool,
        hold_bytes: int = HOLD_BYTES,
        retries: Callable[[], Iterator[float]] = lambda: delays_s(0.2, 5.0),
    ) -> None:
        self._spool = spool
        self._retries = retries
        self.held = Held(hold_bytes, spool.merging)
        """What waits in memory."""
        self._writing = 0
        self._changed = asyncio.Event()
        self.memory = spool.memory
        """What a sensing process that is started now has to go on from."""
        self.doubtful_memory = spool.doubtful_memory
        """What it has to begin behind where there is nothing to go on from: of an earlier time."""
        self.received = 0
        self.too_large = 0
        """Payloads given up since no collector would take them."""
        self.problem = ""
        """The sentence of the disk's refusal while it lasts."""

    def __len__(self) -> int:
        """Count the payloads that are not on the disk yet."""
        return len(self.held) + self._writing

    @property
    def dropped(self) -> int:
        """Payloads given up: too many while the disk refused, or too large for any collector."""
        return self.held.dropped + self.too_large

    def put(self, payload: bytes, memory: bytes) -> None:
        """Take one payload over."""
        self.received += 1
        self.memory = memory
        if len(payload) > MAX_PAYLOAD_BYTES:
            self.too_large += 1
            _log.error("payload too large for any collector dropped", bytes=len(payload))
            return
        self.held.put(Record(payload, memory))
        self._changed.set()

    async def room(self) -> None:
        """Return once more may come; at once where waiting would not help."""
        while self.held.bytes > ROOM_BYTES and not self.problem:
            await self._change()

    async def flush(self) -> None:
        """Return once everything is on the disk."""
        while len(self):
            await self._change()

    async def run(self) -> None:
        """Write until cancelled; a disk that refuses is tried again and again."""
        retries = self._retries()
        while True:
            if not len(self.held):
                await self._change()
                continue
            group = self.held.take(GROUP_BYTES)
            self._writing = len(group)
            try:
                await self._spool.append([record[:2] for record in group])
            except SpoolError as error:
                if str(error) != self.problem:
                    _log.error("not spooling", reason=error)
                self.problem = str(error)
                self.held.put_back(group)
                self._writing = 0
                self._wake()
                while self.held.is_crowded and await self.held.coarsen():
                    pass
                await asyncio.sleep(next(retries))
                continue
            if self.problem:
                _log.info("spooling again", held=len(self.held))
                self.problem, retries = "", self._retries()
            self._writing = 0
            self._wake()

    def _wake(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
