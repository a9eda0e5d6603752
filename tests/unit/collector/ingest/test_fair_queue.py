"""Turns: whoever waits is in the next group, however much another host has waiting."""

from __future__ import annotations

import asyncio
from collections import Counter

import hypothesis.strategies as st
from hypothesis import given

from chipwatt.collector.ingest.fair_queue import FairQueue


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50)), max_size=60), st.integers(1, 9))
def test_everything_comes_out_once_in_its_hosts_order_and_in_turn(
    items: list[tuple[int, int]], most: int
) -> None:
    async def scenario() -> None:
        queue: FairQueue[tuple[int, int]] = FairQueue(100)
        waiting: Counter[int] = Counter()
        for number, (host, cost) in enumerate(items):
            await queue.put(bytes([host]), (host, number), cost)
            waiting[host] += 1
        seen: list[tuple[int, int]] = []
        while len(queue):
            group = queue.take(most, 10**6)
            counts = Counter(host for host, _ in group)
            for host in counts:
                for other in waiting:
                    if waiting[other] > counts[other]:
                        assert counts[host] <= counts[other] + 1
            waiting.subtract(counts)
            waiting = +waiting
            seen += group
            queue.done(len(group))
        await asyncio.wait_for(queue.join(), 1)
        assert sorted(seen) == sorted((host, n) for n, (host, _) in enumerate(items))
        for host in range(5):
            mine = [n for h, n in seen if h == host]
            assert mine == sorted(mine)

    asyncio.run(scenario())


def test_a_group_costs_no_more_than_it_may_unless_one_item_does() -> None:
    async def scenario() -> None:
        queue: FairQueue[str] = FairQueue(10)
        for name, cost in (("a", 70), ("b", 40), ("c", 500), ("d", 1)):
            await queue.put(name.encode(), name, cost)
        assert queue.take(10, 100) == ["a"]
        assert queue.take(10, 100) == ["b"]
        assert queue.take(10, 100) == ["c"]
        assert queue.take(10, 100) == ["d"]

    asyncio.run(scenario())


def test_who_finds_no_room_waits_in_order_of_arrival() -> None:
    async def scenario() -> None:
        queue: FairQueue[int] = FairQueue(2)
        for n in range(2):
            await queue.put(b"a", n, 1)
        late = [asyncio.create_task(queue.put(b"b", n, 1)) for n in (2, 3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in late)
        assert queue.take(1, 10) == [0]
        await late[0]
        assert not late[1].done()
        assert queue.take(2, 10) == [1, 2]
        await late[1]
        queue.done(3)
        assert queue.take(9, 10) == [3]
        queue.done(1)
        await asyncio.wait_for(queue.join(), 1)

    asyncio.run(scenario())
