"""Retention: a file that is past its time becomes coarser rows in the next tier, and goes.

A row is in exactly one tier at any time. The coarser rows are written
invisibly; one transaction makes them count and takes the finer file off the
catalogue; then the file is deleted. What arrives late for a span that is
rolled up already goes into a new fine file and takes the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import groupby

from chipwatt.collector.store.block import BlockDamaged, decode
from chipwatt.collector.store.block_file import BlockFile, Found, Placed, open_blocks
from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.config import Tier
from chipwatt.collector.store.faults import StoreDamaged
from chipwatt.collector.store.rollup import roll_up
from chipwatt.collector.store.rows import Rows, concatenate
from chipwatt.collector.store.shelf import Draft, Shelf, Shelved, Visible
from chipwatt.core.columns import SectionKind
from chipwatt.core.log import get

_ROLLED = (SectionKind.DEVICE_WINDOW, SectionKind.HOST_SECOND)
_log = get(__name__)


class Retention:
    """Rolls up and deletes."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf, writers: threading.RLock) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._writers = writers
        self._one_at_a_time = threading.Lock()
        self.damaged = 0
        """Blocks and files that could not be read back since the start."""

    def run(self, now_unix_ns: int) -> None:
        """Roll up and delete every file that is past its time. Raises StoreError."""
        with self._one_at_a_time:
            for tier in self._shelf.tiers:
                with self._catalogue.reading() as connection:
                    files = self._shelf.files(connection)
                for shelved in files:
                    if shelved.tier == tier and shelved.kept_until_unix_ns <= now_unix_ns:
                        self._retire(shelved)

    def _retire(self, shelved: Shelved) -> None:
        with self._writers:
            self._shelf.seal(shelved)
        draft = None
        coarser = shelved.tier.number + 1
        try:
            if coarser < len(self._shelf.tiers) and shelved.path.exists():
                draft = self._shelf.begin()
                self._roll_up(shelved, self._shelf.tiers[coarser], draft)
            with self._catalogue.writing("retire a file") as connection:
                if draft:
                    draft.finish(connection)
                connection.execute("DELETE FROM file WHERE id = ?", (shelved.number,))
        except BaseException:
            if draft:
                draft.abandon()
            raise
        self._shelf.remove(shelved)

    def _roll_up(self, shelved: Shelved, coarser: Tier, draft: Draft) -> None:
        with self._catalogue.reading() as connection:
            visible = Visible(connection)
        try:
            with open_blocks(shelved.path, visible) as blocks:
                for kind in _ROLLED:
                    for shard in blocks.shards(kind):
                        draft.write(coarser, self._shard(blocks, kind, shard, coarser))
        except StoreDamaged:
            # Its time is over, and keeping it gives nothing back.
            self.damaged += 1
            _log.warning("file of blocks is damaged and lost", path=str(shelved.path))

    def _shard(
        self, blocks: BlockFile, kind: SectionKind, shard: int, coarser: Tier
    ) -> Iterator[Placed]:
        def coarse_slot(found: Found) -> int:
            return found.slot_unix_ns - found.slot_unix_ns % coarser.slot_ns

        for slot, group in groupby(blocks.find(kind, shard), coarse_slot):
            parts = [rows for found in group if (rows := self._read(blocks, found)) is not None]
            if parts:
                yield Placed(shard, slot, roll_up(concatenate(parts), coarser.resolution_ns))

    def _read(self, blocks: BlockFile, found: Found) -> Rows | None:
        try:
            return decode(blocks.data(found))
        except (BlockDamaged, StoreDamaged) as error:
            self.damaged += 1
            _log.warning("block is damaged", block=found.number, reason=str(error))
            return None
