"""Asks the kernel to run the sampling thread at its deadlines, whatever else the machine does.

At normal priority a thread that wakes up waits for the others that the
scheduler owes time to, for milliseconds on a busy machine. Three ways, the best
that the kernel grants (sched(7), sched_setattr(2)):

- ``SCHED_FIFO`` at priority 1, the lowest: it needs CAP_SYS_NICE or
  RLIMIT_RTPRIO (``LimitRTPRIO=1`` in a unit). Only the calling thread has it:
  what it starts does not inherit it, so a vendor's library never runs so. A thread
  that computes without a pause for longer than ``_PATIENCE_US`` falls back to normal
  priority by itself, and is ended by the kernel where even that does not work.
- A slice of 0.1 ms where the usual is 3 ms (Linux 6.12): who asks for little at a
  time is served sooner. It needs no privilege.
- Nothing: older kernels accept the slice and ignore it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterator
from enum import StrEnum
from types import FrameType

_LOWEST = 1
_SLICE_NS = 100_000
_PATIENCE_US = 300_000
"""The longest chore takes milliseconds."""
_END_US = 2_000_000
_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275), "ppc64le": (355, 356)}
"""sched_setattr and sched_getattr, which neither Python nor older C libraries have."""
_ATTR = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period

_log = logging.getLogger(__name__)


class Promptness(StrEnum):
    """What was granted."""

    REAL_TIME = "real-time priority"
    SHORT_SLICE = "normal priority, slices of 0.1 ms"
    ORDINARY = "normal priority"


@contextlib.contextmanager
def prompt(*, real_time: bool = True) -> Iterator[Promptness]:
    """Run the calling thread as promptly as the kernel grants until the end of the block.

    To be called from the main thread. Without ``real_time`` only the short slice
    is asked for. A policy that somebody has chosen for this process stays.
    """
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    if policy != os.SCHED_OTHER:
        preferred = policy in {os.SCHED_FIFO, os.SCHED_RR}
        yield Promptness.REAL_TIME if preferred else Promptness.ORDINARY
        return
    if not real_time or not _claim():
        yield Promptness.SHORT_SLICE if shorten_slice() else Promptness.ORDINARY
        return
    try:
        yield Promptness.REAL_TIME
    finally:
        _step_down()


def shorten_slice() -> bool:
    """Ask for short slices for the calling thread; False where the kernel has none."""
    numbers = _SYSCALLS.get(platform.machine())
    if numbers is None:
        return False
    setattr_number, getattr_number = numbers
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    attr = ctypes.create_string_buffer(_ATTR.size)
    if syscall(getattr_number, 0, attr, _ATTR.size, 0):
        return False
    _, policy, flags, nice, *_ = _ATTR.unpack(attr.raw)
    attr.raw = _ATTR.pack(_ATTR.size, policy, flags, nice, 0, _SLICE_NS, 0, 0)
    if policy != os.SCHED_OTHER or syscall(setattr_number, 0, attr, 0):
        return False
    return not syscall(getattr_number, 0, attr, _ATTR.size, 0) and (
        _ATTR.unpack(attr.raw)[5] == _SLICE_NS
    )


def _claim() -> bool:
    """Take real-time priority with its safety net; False where the kernel refuses."""
    with contextlib.suppress(OSError, ValueError):
        allowed, most = resource.getrlimit(resource.RLIMIT_RTPRIO)
        if not allowed and most:
            resource.setrlimit(resource.RLIMIT_RTPRIO, (_LOWEST, most))
    try:
        signal.signal(signal.SIGXCPU, _tired)
        resource.setrlimit(resource.RLIMIT_RTTIME, (_PATIENCE_US, _END_US))
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_LOWEST))
    except (OSError, ValueError):
        return False
    return True


def _step_down() -> None:
    with contextlib.suppress(OSError):  # its safety net is the kernel's
        # The flag stays: only a privileged process may take it back.
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def _tired(_signal: int, _frame: FrameType | None) -> None:
    """Give a core back that something has held for too long."""
    _step_down()
    _log.warning(
        "it computed for %.1f s at real-time priority without a pause; it goes on at normal "
        "priority until its next start",
        _PATIENCE_US / 1e6,
    )
