"""Numbers out of sysfs files that stay open.

A kernel attribute computes its text anew at every read from offset 0, so the
file is opened once and read with ``pread``: one system call a value.

What an errno means for a source::

    at open   EACCES, EPERM                    the operator has to allow it
    at read   EAGAIN, EINVAL, EIO, ENODATA,    this read failed, the next may not
              EBUSY, EINTR, ETIMEDOUT          (TransientReadError)
    at read   ENODEV, ENOENT, ENXIO, ESTALE    the thing behind the file is gone (Vanished)
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from chipwatt.agent.sensing.contract import TransientReadError
from chipwatt.core.clock import NS_PER_MS

_TRANSIENT = frozenset(
    {
        errno.EAGAIN, errno.EINVAL, errno.EIO, errno.ENODATA,
        errno.EBUSY, errno.EINTR, errno.ETIMEDOUT,
    }
)  # fmt: skip
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.ESTALE, errno.ENOTDIR})
_TEXT_BYTES = 64  # a decimal 64-bit number, its sign and newline fit three times
_LOOK_NS = 20 * NS_PER_MS
"""A removed file may pass for a counter that stands still for this long; a gap of that length is
too short to be told as one."""


class Vanished(Exception):
    """The file that was open no longer stands for anything."""


class Attribute:
    """One integer file, kept open."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; raises OSError."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._text: bytes | None = None
        self._value = 0
        self._look_ns = 0

    def read(self, now_ns: int | None = None) -> int:
        """Return the value now.

        Raises TransientReadError where this read failed or gave anything but a
        decimal number, and Vanished where the file was removed. A file that repeats
        its value, or shows none, is asked whether it still has a name: outside sysfs
        (bind mounts, fakes) a removed file stays readable through an open
        descriptor, frozen for ever. That costs more than the read itself, so whoever
        reads often gives the time and has it asked every 20 ms.
        """
        try:
            text = os.pread(self._fd, _TEXT_BYTES, 0)
        except OSError as error:
            raise outcome(error, self.path) from None
        if text != self._text:
            if not is_decimal(text):
                if self._removed():
                    raise Vanished(str(self.path))
                raise TransientReadError(f"{self.path}: {text[:32]!r} is no number")
            self._text, self._value = text, int(text)
        elif now_ns is None or now_ns >= self._look_ns:
            if self._removed():
                raise Vanished(str(self.path))
            self._look_ns = (now_ns or 0) + _LOOK_NS
        return self._value

    def _removed(self) -> bool:
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Close the descriptor; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_decimal(text: bytes) -> bool:
    """Whether ``text`` is a number as the kernel writes one.

    ``int`` takes more: ``1_0``, ``+1``, blanks in front, digits of other scripts.
    """
    digits = text.rstrip().removeprefix(b"-")
    return digits.isdigit() and len(digits) < _TEXT_BYTES


def outcome(error: OSError, path: Path) -> Exception:
    """Return what ``error`` on reading ``path`` means, for the caller to raise.

    That is TransientReadError, Vanished or, for an errno that should not
    happen, ``error`` itself, which stops the source.
    """
    if error.errno in _TRANSIENT:
        return TransientReadError(f"{path}: {error.strerror}")
    if error.errno in _GONE:
        return Vanished(str(path))
    return error


def read_text(path: Path) -> str | None:
    """Return a small file's text without surrounding blanks; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return a small file's decimal integer; None where it cannot be read or is none."""
    text = read_text(path) or ""
    return int(text) if is_decimal(text.encode()) else None
