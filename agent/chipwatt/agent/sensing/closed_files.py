"""Sensor files that may not be opened: what to tell of them, and whether they may be by now."""

from __future__ import annotations

import os
from pathlib import Path

from chipwatt.agent.sensing.contract import Missing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import AbsentReason

_LOOK_NS = 5 * NS_PER_S


class ClosedFiles:
    """The files that one source could not open, looked at again every five seconds."""

    def __init__(self) -> None:
        self._closed: dict[Path, Missing] = {}
        self._look_ns = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._closed)

    @property
    def missing(self) -> list[Missing]:
        """What stands behind those that are still closed."""
        return list(self._closed.values())

    @property
    def denied(self) -> bool:
        """Whether any is closed for want of permission."""
        denied = AbsentReason.PERMISSION_DENIED
        return any(missing.reason is denied for missing in self._closed.values())

    def add(self, path: Path, what: str, error: OSError, remedy: str) -> None:
        """Note that ``path``, which is ``what`` to people, did not open; ``remedy`` for denials."""
        reason, detail = AbsentReason.NOT_PRESENT, f"{path} cannot be opened: {error.strerror}"
        if isinstance(error, PermissionError):
            reason, detail = AbsentReason.PERMISSION_DENIED, f"{path} may not be read: {remedy}"
        self._closed[path] = Missing(what, reason, detail)

    def look(self, now_ns: int) -> None:
        """Forget those that open by now, at most every five seconds."""
        if now_ns < self._look_ns:
            return
        self._look_ns = now_ns + _LOOK_NS
        for path in list(self._closed):
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                continue
            del self._closed[path]

    def clear(self) -> None:
        """Forget all."""
        self._closed.clear()
