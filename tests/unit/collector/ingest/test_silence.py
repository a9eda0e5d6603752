"""A stream on which nothing is heard is ended, and no other."""

from __future__ import annotations

import asyncio

from chipwatt.collector.ingest.silence import Silence


def test_silence_ends_once_and_hearing_puts_it_off() -> None:
    async def test() -> None:
        ends: list[str] = []
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def end(sentence: str) -> None:
            ends.append(sentence)
            over.set()

        silence = Silence(1.0, end)
        began_s = loop.time()
        while loop.time() - began_s < 1.5:
            silence.heard()
            assert ends == []
            await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            await over.wait()
        assert loop.time() - began_s >= 2.45
        assert ends == ["nothing came for 1 s; connect again when there is something"]

    asyncio.run(test())


def test_a_stopped_one_says_nothing() -> None:
    async def test() -> None:
        ends: list[str] = []
        Silence(0.01, ends.append).stop()
        await asyncio.sleep(0.05)
        assert ends == []

    asyncio.run(test())
