"""Faults of a machine, switched on and off beneath a running daemon; see ``machine_faults.c``."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path

from fakes.build import HERE, build, compiler

LIBRARY = "libmachine_faults.so"
_PAGE = 4096
_BLOCK = 512
"""What a disk writes whole or not at all."""


class Kind(IntEnum):
    """Kinds of calls that can fail."""

    OPEN = 0
    """To write: an open to read never fails."""
    WRITE = 1
    SYNC = 2
    RENAME = 3
    UNLINK = 4
    TRUNCATE = 5
    SEND = 6
    """On a TCP socket."""


WRITING = (Kind.OPEN, Kind.WRITE, Kind.SYNC, Kind.RENAME, Kind.UNLINK, Kind.TRUNCATE)


class _Control(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_uint64),
        ("kill_at", ctypes.c_uint64),
        ("kill_after", ctypes.c_uint32),
        ("fail_error", ctypes.c_uint32),
        ("fail_from", ctypes.c_uint64),
        ("fail_calls", ctypes.c_uint64),
        ("calls", ctypes.c_uint64 * len(Kind)),
        ("error", ctypes.c_uint32 * len(Kind)),
        ("delay_us", ctypes.c_uint32 * len(Kind)),
        ("root", ctypes.c_char * 1024),
        ("durable", ctypes.c_char * 1024),
        ("identity", ctypes.c_char * 1024),
    )


def missing() -> str:
    """Return why the faults cannot be had on this machine; empty where they can."""
    try:
        library()
    except (OSError, subprocess.CalledProcessError):
        return f"no C compiler works here ({' '.join(compiler())})"
    return ""


def library() -> Path:
    """Build the library that daemons preload."""
    sources = [HERE / "machine_faults.c"]
    return build("machine-faults", sources, LIBRARY, ["-ldl"]) / LIBRARY


class Faults:
    """The control page of one machine, whose disk is everything below ``root``."""

    def __init__(self, folder: Path, root: Path, *, power: bool = False) -> None:
        """``power``: keep what is durable, for ``cut_power``."""
        folder.mkdir(parents=True, exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()
        self._durable = folder / "durable"
        self._path = folder / "faults"
        self._path.write_bytes(bytes(-(-ctypes.sizeof(_Control) // _PAGE) * _PAGE))
        with self._path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._page)
        self._control.root = bytes(self._root)
        self._identity = folder / "identity"
        self._identity.mkdir(exist_ok=True)
        self._control.identity = bytes(self._identity)
        if power:
            self._durable.mkdir(exist_ok=True)
            self._control.durable = bytes(self._durable)

    @property
    def environment(self) -> dict[str, str]:
        """What a daemon needs to run on this machine."""
        return {
            **os.environ,
            "LD_PRELOAD": str(library()),
            "CHIPWATT_FAKE_FAULTS": str(self._path),
        }

    @property
    def total(self) -> int:
        """Calls so far."""
        return int(self._control.total)

    def calls(self, kind: Kind) -> int:
        """Return how many calls of a kind there were."""
        return int(self._control.calls[kind])

    def fail(self, error: int, *kinds: Kind) -> None:
        """Let calls of these kinds fail with an errno; 0 mends them."""
        for kind in kinds:
            self._control.error[kind] = error

    def fail_at(self, call: int, error: int, calls: int) -> None:
        """Let ``calls`` calls of any kind fail, the ``call``-th from now first; 0 calls mend."""
        self._control.fail_calls = 0
        self._control.fail_error = error
        self._control.fail_from = self.total + call
        self._control.fail_calls = calls

    def delay(self, delay_us: int, *kinds: Kind) -> None:
        """Let calls of these kinds take longer."""
        for kind in kinds:
            self._control.delay_us[kind] = delay_us

    def kill_at(self, call: int, *, after: bool = False) -> None:
        """SIGKILL the daemon at the ``call``-th call from now; 0 takes it back."""
        self._control.kill_after = int(after)
        self._control.kill_at = self.total + call if call else 0

    def name_machine(self, machine: bytes) -> None:
        """Give the machine an id of its own."""
        (self._identity / "machine-id").write_text(machine.hex() + "\n")

    def boot(self, boot: str) -> None:
        """Let daemons that start from now on find another boot id, a UUID."""
        (self._identity / "boot_id").write_text(boot + "\n")

    def cut_power(self, chance: random.Random) -> int:
        """Leave of ``root`` what a power cut may leave; returns how many changes were undone.

        Whatever was not fsync'ed survives by chance: each block of 512 bytes, each
        name. Call it once the daemon is dead.
        """
        undone = 0
        for folder in [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]:
            undone += self._cut_names(folder, chance)
        for path in self._root.rglob("*"):
            if path.is_file() and path.name != "lock":
                undone += self._cut_content(path, chance)
        return undone

    def _cut_names(self, folder: Path, chance: random.Random) -> int:
        listing = self._durable / f"names-{folder.stat().st_ino}"
        if not listing.exists():
            return 0
        durable = {}
        for line in listing.read_text().splitlines():
            inode, name = line.split(" ", 1)
            durable[name] = int(inode)
        present = {path.name: path.stat().st_ino for path in folder.iterdir() if path.is_file()}
        undone = 0
        for name in sorted({*durable, *present}):
            was, is_now = durable.get(name), present.get(name)
            if was == is_now or chance.random() < 0.5:
                continue
            kept = self._durable / f"kept-{was}"
            if was is None:
                # The file may also be there under its other name; then it stays so.
                (folder / name).unlink()
            elif kept.exists():
                (folder / name).unlink(missing_ok=True)
                shutil.copyfile(kept, folder / name)
                data = self._durable / f"data-{was}"
                if data.exists():
                    shutil.copyfile(data, self._durable / f"data-{(folder / name).stat().st_ino}")
            else:
                continue
            undone += 1
        return undone

    def _cut_content(self, path: Path, chance: random.Random) -> int:
        kept = self._durable / f"data-{path.stat().st_ino}"
        was = kept.read_bytes() if kept.exists() else b""
        written = path.read_bytes()
        if was == written:
            return 0
        result = bytearray(was)
        for start in range(0, len(written), _BLOCK):
            block = written[start : start + _BLOCK]
            if was[start : start + _BLOCK] != block and chance.random() < 0.5:
                result.extend(bytes(max(0, start - len(result))))
                result[start : start + len(block)] = block
        if len(written) < len(was) and chance.random() < 0.5:
            del result[len(written) :]
        path.write_bytes(result)
        return 1
