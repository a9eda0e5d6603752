"""The audit log: who read what, who was refused, which certificate was issued.

A file of JSON lines beside the store, readable by the collector's own user alone,
rotated by size. A line has only what this module's callers name: no request, no
token, no key. What repeats within ten seconds is one line and a count, so that
nobody can push the log's own past out of it by asking often.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from chipwatt.collector.access.caller import Caller
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_S

FILE = "audit.jsonl"
ROTATE_BYTES = 8 << 20
KEPT = 4
"""Older files beside the one that is written: ``audit.jsonl.1`` is the newest of them."""
REPEAT_NS = 10 * NS_PER_S
_MAX_KEYS = 4096
_log = log.get(__name__)


@dataclass(slots=True)
class _Seen:
    since_ns: int
    line: dict[str, object]
    repeats: int = 0


class AuditLog:
    """Appends lines; safe between threads. The file is made with its first line."""

    def __init__(
        self,
        folder: Path,
        *,
        unix_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        self.path = folder / FILE
        self._unix_ns = unix_ns
        self._mono_ns = mono_ns
        self._rotate_bytes = rotate_bytes
        self._seen: dict[tuple[object, ...], _Seen] = {}
        self._swept_ns = mono_ns()
        self._file: FileIO | None = None
        self._before = ""
        self._lock = threading.Lock()

    def note(self, event: str, caller: Caller, **fields: str | int) -> None:
        """Write that something happened; ``fields`` are names and numbers, never a secret.

        A disk that takes no line is told in the collector's own log: reads go on.
        """
        line: dict[str, object] = {
            "event": event,
            "role": caller.role.value,
            "name": caller.name,
            "source": caller.source,
            **fields,
        }
        key = tuple(line.values())
        with self._lock:
            now_ns = self._mono_ns()
            if now_ns - self._swept_ns >= REPEAT_NS:
                self._sweep(now_ns)
            if key not in self._seen and len(self._seen) >= _MAX_KEYS:
                # More than anybody could read one by one: from here on by their kind alone.
                line = {"event": event, "role": caller.role.value}
                key = tuple(line.values())
            if (seen := self._seen.get(key)) is not None:
                seen.repeats += 1
                return
            self._seen[key] = _Seen(now_ns, line)
            self._write(line)

    def close(self) -> None:
        """Write the counts that are still owed and close the file; a later note opens it again."""
        with self._lock:
            self._sweep(None)
            if self._file is not None:
                self._file.close()
                self._file = None

    def _sweep(self, now_ns: int | None) -> None:
        for key, seen in list(self._seen.items()):
            if now_ns is None or now_ns - seen.since_ns >= REPEAT_NS:
                del self._seen[key]
                if seen.repeats:
                    self._write(seen.line | {"repeats": seen.repeats})
        self._swept_ns = self._swept_ns if now_ns is None else now_ns

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps({"time_unix_ns": self._unix_ns(), **line})
        # A line that a full disk cut short must not take the next one with it.
        data = f"{self._before}{text}\n".encode("ascii")
        try:
            if self._file is None:
                self._file = _open(self.path)
            elif self._file.tell() + len(data) > self._rotate_bytes:
                self._file.close()
                self._file = None
                _rotate(self.path)
                self._file = _open(self.path)
            is_whole = self._file.write(data) == len(data)
            self._before = "" if is_whole else "\n"
            reason = "" if is_whole else os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            _log.error("audit line lost", file=self.path, reason=reason, line=text)


def _open(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return FileIO(descriptor, "a")


def _rotate(path: Path) -> None:
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
