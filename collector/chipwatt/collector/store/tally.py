"""The newest commits, counted beside the database, so that one that vanished is noticed.

SQLite takes its log up to the first frame whose checksum fails and says nothing
of what came after it: commits that were acked would be gone in silence. Each
commit therefore leaves its number and what it held in a slot of ``commits``, 40
bytes written in place. They are not synced: a process that dies loses none of
them, and after a power cut the file is at most older than the log, never newer,
so that it never reports a loss that was none. A commit that cannot be counted, on a
full disk say, is a commit all the same: it is counted with the next one.

Slot ``number % SLOTS``: ``<Q number> <q received> <q start_min> <q start_max>
<I crc32 of the former> <4 bytes 0>``, times in unix ns.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.store.catalogue import COMMITS
from chipwatt.collector.store.faults import told
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get

SLOTS = 4096
"""Commits remembered: several times what the log can hold before it is checkpointed."""
_SLOT = struct.Struct("<Qqqq")
_SUM = struct.Struct("<II")
_SIZE = _SLOT.size + _SUM.size
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Commit:
    """One group commit."""

    number: int
    received_unix_ns: int
    start_min: int
    start_max: int


class Tally:
    """The file of commits. Opening raises StoreError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / COMMITS
        with told(self.path, "open the list of commits"):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._uncounted: deque[Commit] = deque(maxlen=SLOTS)

    def note(self, commit: Commit) -> None:
        """Take note of a commit that is on the disk, and of those that could not be noted.

        Never fails: whoever is told of an error makes the same commit once more.
        """
        was_behind = bool(self._uncounted)
        self._uncounted.append(commit)
        try:
            while self._uncounted:
                self._write(self._uncounted[0])
                self._uncounted.popleft()
        except StoreError as error:
            if not was_behind:
                _log.warning(
                    "commits are stored, but cannot be counted: until they are, none of them "
                    "would be missed if the log lost them",
                    reason=str(error),
                )
        else:
            if was_behind:
                _log.info("commits are counted again")

    def _write(self, commit: Commit) -> None:
        packed = _SLOT.pack(
            commit.number, commit.received_unix_ns, commit.start_min, commit.start_max
        )
        slot = packed + _SUM.pack(zlib.crc32(packed), 0)
        with told(self.path, "count a commit"):
            if os.pwrite(self._file, slot, commit.number % SLOTS * _SIZE) < len(slot):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def after(self, number: int) -> list[Commit]:
        """Return what is remembered of commits after ``number``, in order. Raises StoreError."""
        with told(self.path, "read the list of commits"):
            data = os.pread(self._file, SLOTS * _SIZE, 0)
        found = []
        for at in range(0, len(data) - _SIZE + 1, _SIZE):
            (checksum, _) = _SUM.unpack_from(data, at + _SLOT.size)
            commit = Commit(*_SLOT.unpack_from(data, at))
            if commit.number > number and zlib.crc32(data[at : at + _SLOT.size]) == checksum:
                found.append(commit)
        return sorted(found, key=lambda commit: commit.number)

    def close(self) -> None:
        """Close the file; twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
