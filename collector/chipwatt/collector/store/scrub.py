"""Looking through files of blocks for damage before somebody asks for what is in them.

Each file is checked by SQLite (pages, and that index and table agree), its rows are
counted against the catalogue, and each block's checksum is verified. An index
that disagrees is rebuilt from the blocks: without that, blocks that it does
not name would be missing from answers in silence. A round begins at the start
with the newest file, goes on a little at a time, and is done again once a day;
a file in which a reader met damage is next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from chipwatt.collector.store.block import BlockDamaged
from chipwatt.collector.store.block_file import BlockFile, Held, open_blocks, rebuild_index
from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.damage import Loss, hosts_of_shard
from chipwatt.collector.store.faults import StoreDamaged
from chipwatt.collector.store.shelf import Shelf, Shelved, Visible
from chipwatt.core.columns import SectionKind
from chipwatt.core.errors import StoreError

ROUND_EVERY_S = 86_400.0
_HELD_AT_ONCE = 64
"""Blocks verified before the time is looked at."""


class Scrub:
    """Verifies files of blocks."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf, writers: threading.RLock) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._writers = writers
        self._one_at_a_time = threading.Lock()
        self._left: list[int] | None = None
        """Numbers of files that this round has not begun, the next one last."""
        self._work: Iterator[None] = iter(())
        self._round_ended_s = 0.0

    def run(self, budget_s: float) -> bool:
        """Verify for about ``budget_s``; return whether the round is done. Raises StoreError."""
        with self._one_at_a_time:
            until_s = time.monotonic() + budget_s
            while True:
                for _ in self._work:
                    if time.monotonic() >= until_s:
                        return False
                shelved = self._next()
                if shelved is None:
                    return True
                self._work = self._verify(shelved)

    def _next(self) -> Shelved | None:
        with self._catalogue.reading() as connection:
            files = {file.number: file for file in self._shelf.files(connection) if file.rows}
        suspects = self._shelf.damage.suspects()
        again = [file.number for file in files.values() if file.path in suspects]
        now_s = time.monotonic()
        if self._left is None or now_s - self._round_ended_s > ROUND_EVERY_S:
            newest_last = sorted(files.values(), key=lambda file: file.start_max)
            self._left = [file.number for file in newest_last]
        self._left += again
        while self._left:
            self._round_ended_s = now_s
            number = self._left.pop()
            if number in files:
                return files[number]
        return None

    def _verify(self, shelved: Shelved) -> Iterator[None]:
        """Look through one file, a step at a time."""
        damage = self._shelf.damage
        try:
            with self._catalogue.reading() as connection:
                visible = Visible(connection)
                rows = next(
                    (f.rows for f in self._shelf.files(connection) if f.number == shelved.number), 0
                )
            if not rows:
                return  # retired meanwhile
            self._mend(shelved, visible)
            yield
            with open_blocks(shelved.path, visible) as blocks:
                contents = blocks.contents()
                held = sum(one.rows for one in contents)
                if held < rows:
                    damage.lose(shelved.lost(), f"it holds {held} of {rows} rows")
                for position, one in enumerate(contents):
                    self._decode(shelved, blocks, one)
                    if position % _HELD_AT_ONCE == 0:
                        yield
        except StoreError as error:
            with self._catalogue.reading() as connection:
                wanted = any(f.number == shelved.number for f in self._shelf.files(connection))
            gone = not shelved.path.exists()
            if wanted and (gone or isinstance(error, StoreDamaged)):
                damage.lose(shelved.lost(), str(error))
            elif wanted:
                raise

    def _mend(self, shelved: Shelved, visible: Visible) -> None:
        """Rebuild the index where it is damaged; what else is damaged is found by reading."""
        wrong = _wrong(shelved, visible)
        if not wrong:
            return
        with self._writers:
            rebuild_index(shelved.path)
        if not _wrong(shelved, visible):
            self._shelf.damage.repaired(f"{shelved.path.name} index", wrong)

    def _decode(self, shelved: Shelved, blocks: BlockFile, one: Held) -> None:
        try:
            blocks.rows(one.number, SectionKind(one.kind))
        except (BlockDamaged, StoreDamaged, ValueError) as error:
            loss = Loss(
                f"{shelved.path.name} block {one.number}",
                one.start_min,
                one.start_max,
                SectionKind(one.kind) if one.kind in set(SectionKind) else None,
                hosts_of_shard(one.shard),
            )
            self._shelf.damage.lose(loss, str(error))


def _wrong(shelved: Shelved, visible: Visible) -> str:
    with open_blocks(shelved.path, visible) as blocks:
        return blocks.check()
