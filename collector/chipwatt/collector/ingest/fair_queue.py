"""Batches that wait for a commit: one of each host in turn, so that no host waits for another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A bounded queue that is taken from host by host; used in one event loop.

    However much one host has waiting, a group holds at most one more of its items
    than of any other host's that waits. Who finds no room gets it in order of arrival.
    """

    def __init__(self, most: int) -> None:
        """Hold at most ``most`` items."""
        self._room = asyncio.Semaphore(most)
        self._waiting: OrderedDict[bytes, deque[tuple[Item, int]]] = OrderedDict()
        self._filled = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._count = 0
        self._taken = 0

    def __len__(self) -> int:
        return self._count

    async def put(self, host: bytes, item: Item, cost: int) -> None:
        """Queue an item of ``cost``; waits while there is no room."""
        await self._room.acquire()
        self._waiting.setdefault(host, deque()).append((item, cost))
        self._count += 1
        self._filled.set()
        self._settled.clear()

    async def filled(self) -> None:
        """Return once something waits."""
        await self._filled.wait()

    def take(self, most: int, most_cost: int) -> list[Item]:
        """Return at most ``most`` items of ``most_cost`` together, or one that is dearer.

        Whoever takes says ``done`` once it is done with them.
        """
        taken: list[Item] = []
        while self._count and len(taken) < most:
            host, waiting = next(iter(self._waiting.items()))
            if taken and waiting[0][1] > most_cost:
                break
            item, cost = waiting.popleft()
            most_cost -= cost
            taken.append(item)
            self._count -= 1
            self._room.release()
            if waiting:
                self._waiting.move_to_end(host)
            else:
                del self._waiting[host]
        if not self._count:
            self._filled.clear()
        self._taken += len(taken)
        return taken

    def done(self, count: int) -> None:
        """Take note that ``count`` of the items taken are settled."""
        self._taken -= count
        if not self._count and not self._taken:
            self._settled.set()

    async def join(self) -> None:
        """Return once nothing waits and everything taken is settled."""
        await self._settled.wait()
