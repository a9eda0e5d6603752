"""Retention: a file that is past its time becomes coarser rows in the next tier, and goes.

A row is in exactly one tier at any time. The coarser rows are written
invisibly; one transaction makes them count and takes the finer file off the
catalogue; then the file is deleted. What arrives late for a span that is
rolled up already goes into a new fine file and takes the same way.

A file of a large fleet is a long piece of work. It is done slot by slot, and
``run`` goes on where the call before it stopped, so that one call takes about
``budget_s`` and neither commits nor compaction wait for the whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from itertools import groupby

from chipwatt.collector.store.block import BlockDamaged
from chipwatt.collector.store.block_file import BlockFile, Found, Placed, open_blocks
from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.config import Tier
from chipwatt.collector.store.faults import StoreDamaged
from chipwatt.collector.store.shelf import Draft, Shelf, Shelved, Visible
from chipwatt.core.columns import SectionKind
from chipwatt.core.errors import StoreError
from chipwatt.core.rollup import roll_up
from chipwatt.core.rows import concatenate

PAUSE = 2.0
"""Rest after each step, in times of the step: commits are not to feel that there is work."""
_ROLLED = (SectionKind.DEVICE_WINDOW, SectionKind.HOST_SECOND)


class Retention:
    """Rolls up and deletes."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf, writers: threading.RLock) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._writers = writers
        self._one_at_a_time = threading.Lock()
        self._work: Generator[None, None, None] | None = None

    def run(self, now_unix_ns: int, budget_s: float) -> bool:
        """Roll up and delete files that are past their time, for about ``budget_s``.

        Returns whether all of that is done. Raises StoreError.
        """
        with self._one_at_a_time:
            until_s = time.monotonic() + budget_s
            while True:
                if self._work is None:
                    shelved = self._next(now_unix_ns)
                    if shelved is None:
                        return True
                    self._work = self._retire(shelved)
                began_s = time.monotonic()
                try:
                    # Each step ends with what it did on the disk; an exception ends the work.
                    next(self._work)
                except StopIteration:
                    self._work = None
                except BaseException:
                    self._work = None
                    raise
                now_s = time.monotonic()
                if now_s >= until_s:
                    return False
                time.sleep(min(PAUSE * (now_s - began_s), until_s - now_s))

    def close(self) -> None:
        """Give up what is under way; it begins anew another time."""
        with self._one_at_a_time:
            if self._work is not None:
                self._work.close()
                self._work = None

    def _next(self, now_unix_ns: int) -> Shelved | None:
        with self._catalogue.reading() as connection:
            files = self._shelf.files(connection)
        return next((file for file in files if file.kept_until_unix_ns <= now_unix_ns), None)

    def _retire(self, shelved: Shelved) -> Generator[None, None, None]:
        with self._writers:
            self._shelf.seal(shelved)
        draft = None
        coarser = shelved.tier.number + 1
        try:
            if coarser < len(self._shelf.tiers) and shelved.rows:
                draft = self._shelf.begin()
                yield from self._roll_up(shelved, self._shelf.tiers[coarser], draft)
            with self._catalogue.writing("retire a file") as connection:
                if draft:
                    draft.finish(connection)
                connection.execute("DELETE FROM file WHERE id = ?", (shelved.number,))
        except BaseException:
            if draft:
                draft.abandon()
            raise
        self._shelf.remove(shelved)

    def _roll_up(
        self, shelved: Shelved, coarser: Tier, draft: Draft
    ) -> Generator[None, None, None]:
        with self._catalogue.reading() as connection:
            visible = Visible(connection)
        try:
            with open_blocks(shelved.path, visible) as blocks:
                for kind in _ROLLED:
                    for shard in blocks.shards(kind):
                        for placed in self._shard(shelved, blocks, kind, shard, coarser):
                            draft.write(coarser, [placed])
                            yield
        except StoreError as error:
            gone = not shelved.path.exists()
            if not gone and not isinstance(error, StoreDamaged):
                raise
            # Its time is over, and keeping it gives nothing back.
            self._shelf.damage.lose(shelved.lost(), str(error))

    def _shard(
        self, shelved: Shelved, blocks: BlockFile, kind: SectionKind, shard: int, coarser: Tier
    ) -> Iterator[Placed]:
        def coarse_slot(found: Found) -> int:
            return found.slot_unix_ns - found.slot_unix_ns % coarser.slot_ns

        for slot, group in groupby(blocks.find(kind, shard), coarse_slot):
            parts = []
            for found in group:
                try:
                    parts.append(blocks.rows(found.number, kind))
                except (BlockDamaged, StoreDamaged) as error:
                    loss = found.lost(shelved.path, kind, shard)
                    self._shelf.damage.lose(loss, str(error))
            if parts:
                yield Placed(shard, slot, roll_up(concatenate(parts), coarser.resolution_ns))
