"""Row 15: bits that flip, blocks that turn to zeros, files that end too early."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random

from chipwatt.agent.spool.contract import Spooled
from chipwatt.core.model import GapReason
from e2e.faults import dumps, reference
from e2e.faults.bench import Bench
from e2e.faults.rows import Case, Counts, row
from e2e.programs import DiedEarly, until

Damage = Callable[[bytearray, int, int, Random], None]
"""Spoils something between two offsets."""


def flip(data: bytearray, start: int, end: int, chance: Random) -> None:
    data[chance.randrange(start, end)] ^= 1 << chance.randrange(8)


def zero(data: bytearray, start: int, end: int, chance: Random) -> None:
    at = chance.randrange(start, end)
    stop = min(len(data), at + 512)
    data[at:stop] = bytes(stop - at)


def truncate(data: bytearray, start: int, end: int, chance: Random) -> None:
    del data[chance.randrange(start, end) :]


def _spool(case: Case, damage: Damage, most_lost: int) -> Counts:
    runs = case.pick(1, 10)
    records = 3
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        spool = host.state / "spool"
        detected = 0
        lost_all: set[reference.Key] = set()
        for _ in range(runs):
            bench.kill_collector()
            until(lambda: len(_neighbours(dumps.spooled(spool))) >= records, 40, "a backlog")
            host.kill()
            waiting = dumps.spooled(spool)
            previous, hit = case.chance.choice(_neighbours(waiting))
            path = spool / f"{hit.position.segment:08d}.seg"
            data = bytearray(path.read_bytes())
            damage(data, previous.position.offset, hit.position.offset, case.chance)
            path.write_bytes(data)
            left = {(one.epoch, one.sequence): one.payload for one in dumps.spooled(spool)}
            spoiled = [o for o in waiting if left.get((o.epoch, o.sequence)) != o.payload]
            assert hit in spoiled, "damage goes unnoticed"
            assert len(spoiled) <= most_lost, f"{len(spoiled)} records spoiled with one"
            lost_all |= dumps.keys(host.id, spoiled)
            bench.start_collector()
            host.start(bench.address)
            bench.more(2)
            detected += host.running.status()["spool"]["damaged"]
            case.say(f"{len(spoiled)} records lost")
        counts = bench.finish(runs, may_lose=lambda lost: set(lost) <= lost_all)
        with bench.running.client() as client:
            gaps = [g for g in client.gaps(host.id.hex()) if g.reason is GapReason.SPOOL_DAMAGED]
        counts.note = f"{len(lost_all)} records lost, {detected} counted, {len(gaps)} gaps"
        return counts


def _neighbours(waiting: list[Spooled]) -> list[tuple[Spooled, Spooled]]:
    """Return records of one segment that follow each other; the second is not the newest."""
    return [
        (one, two)
        for one, two in pairwise(waiting[:-1])
        if one.position.segment == two.position.segment
    ]


@row(15, "spool: a flipped bit")
def spool_flip(case: Case) -> Counts:
    return _spool(case, flip, 1)


@row(15, "spool: a zeroed block of 512 bytes")
def spool_zero(case: Case) -> Counts:
    return _spool(case, zero, 2)


@row(15, "spool: a segment cut short")
def spool_truncated(case: Case) -> Counts:
    return _spool(case, truncate, 5)


def _parts(store: Path) -> list[bytes]:
    path = store / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as database:
        kinds = "SELECT data FROM part WHERE kind = 3 ORDER BY position"
        return [bytes(data) for (data,) in database.execute(kinds)]


@row(15, "store: a flipped bit in stored rows")
def store_flip(case: Case) -> Counts:
    """The rows it hit are left out, everything else is served, and nothing stops."""
    with Bench(case) as bench:
        bench.begin()
        bench.more(case.pick(4, 30))
        counts = bench.finish()
        with bench.running.client() as client:
            whole = {repr(window) for window in client.windows(bench.host.id.hex())}
        assert bench.running.stop() == 0
        for run in range(case.pick(1, 10)):
            _flip_in_catalogue(bench.store, case.chance)
            bench.start_collector()
            with bench.running.client() as client:
                left = {repr(window) for window in client.windows(bench.host.id.hex())}
            assert left < whole, "what was damaged is served as if it were whole"
            assert left, "one damaged block takes everything with it"
            said = bench.running.said()
            assert "cannot be read" in said, "damage is logged"
            assert "Traceback" not in said
            whole = left
            counts.runs = run + 1
            assert bench.running.stop() == 0
            if len(left) < 4:
                break
        return counts


def _flip_in_catalogue(store: Path, chance: Random) -> None:
    """Flip a bit that matters: one in sixty of a frame's says nothing, and its checksum holds."""
    path = store / "catalogue.sqlite"
    data = bytearray(path.read_bytes())
    good = [part for part in _parts(store) if data.count(part[:64]) == 1]
    part = chance.choice([part for part in good if _sound(part)])
    spoiled = bytearray(part)
    while _sound(spoiled):
        spoiled = bytearray(part)
        flip(spoiled, 4, min(64, len(part)), chance)
    head = spoiled[:64]
    at = data.index(part[:64])
    data[at : at + len(head)] = head
    path.write_bytes(data)


def _sound(part: bytes | bytearray) -> bool:
    import zstandard

    try:
        zstandard.ZstdDecompressor().decompress(part, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError):  # an impossible length is no memory
        return False
    return True


@row(15, "store: the catalogue cut short")
def store_truncated(case: Case) -> Counts:
    """It says what is wrong and ends, or serves what it has; it never loops over a traceback."""
    with Bench(case) as bench:
        bench.begin()
        bench.more(2)
        counts = bench.finish()
        assert bench.running.stop() == 0
        path = bench.store / "catalogue.sqlite"
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        try:
            bench.start_collector().stop()
        except DiedEarly as died:
            said = died.program.said()
            if "damaged" not in said or "Traceback" in said:
                raise
        assert "Traceback" not in bench.running.said()
        path.write_bytes(data)
        bench.start_collector()
        bench.audit()
        return counts
