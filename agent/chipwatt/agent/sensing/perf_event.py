"""Counting perf events without a library: one group, one read.

Python has no ``perf_event_open``; this is the part of it that a system-wide
energy counter needs (perf_event_open(2), ``include/uapi/linux/perf_event.h``):
no sampling, no exclusion bits, ``pid = -1`` and one CPU.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

_SYSCALL = {"x86_64": 298, "aarch64": 241, "ppc64le": 319}
_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5, understood since Linux 4.1
_FORMAT_GROUP = 1 << 3
_FLAG_FD_CLOEXEC = 1 << 3


class PerfGroup:
    """Events of one PMU on one CPU that are read together in one system call.

    Raises OSError as the kernel gives it: EACCES or EPERM without CAP_PERFMON,
    ENOENT or EINVAL for an event that the PMU does not have.
    """

    def __init__(self, pmu_type: int, configs: Sequence[int], cpu: int) -> None:
        self._fds: list[int] = []
        self._layout = struct.Struct(f"={1 + len(configs)}Q")
        try:
            for config in configs:
                leader = self._fds[0] if self._fds else -1
                self._fds.append(_open(pmu_type, config, cpu, leader))
        except OSError:
            self.close()
            raise

    def read(self) -> tuple[int, ...]:
        """Return the counts in the order of ``configs``."""
        data = os.read(self._fds[0], self._layout.size)
        return self._layout.unpack(data)[1:]

    def close(self) -> None:
        """Close every event; safe to call twice."""
        while self._fds:
            os.close(self._fds.pop())


def _open(pmu_type: int, config: int, cpu: int, leader: int) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(38, f"perf_event_open is not known for {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    # type, size, config, sample_period, sample_type, read_format, flag bits
    head = struct.pack("=IIQQQQQ", pmu_type, _ATTR_SIZE, config, 0, 0, _FORMAT_GROUP, 0)
    attr = ctypes.create_string_buffer(head, _ATTR_SIZE)
    fd = int(libc.syscall(number, attr, -1, cpu, leader, _FLAG_FD_CLOEXEC))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd
