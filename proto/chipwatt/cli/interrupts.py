"""Ctrl-C and SIGTERM as something to wait for, so that a program ends in its own order."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context manager in the main thread; a second signal raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._tell)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as a signal has come, False after ``timeout_s`` without one."""
        return self._told.wait(timeout_s)

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        if self._told.is_set():
            raise KeyboardInterrupt
        self._told.set()
