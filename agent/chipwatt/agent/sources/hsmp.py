"""AMD EPYC socket power through the host system management port, ``/dev/hsmp``.

Facts from ``arch/x86/include/uapi/asm/amd_hsmp.h`` and the kernel's
``amd_hsmp`` document: message 4 returns the socket's average power and message
6 its limit, both in mW; reading is open to every user. There is no energy
value, so energy is the integral of this gauge.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.plausible import Doubts
from chipwatt.agent.sensing.registry import source
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

# msg_id, num_args, response_sz, args[8], sock_ind; packed to 4 bytes.
_MESSAGE = struct.Struct("=IHH8IHxx")
_COMMAND = 3 << 30 | _MESSAGE.size << 16 | 0xF8 << 8
_GET_POWER, _GET_LIMIT = 4, 6
_MAX_SOCKETS = 16


@dataclass(frozen=True, slots=True)
class HsmpConfig:
    """``[sources.hsmp]``."""

    device: Path = Path("/dev/hsmp")
    """The mailbox."""
    max_package_power_w: int = 1000
    """Above this a value is impossible."""


@source("hsmp", HsmpConfig)
class HsmpSource:
    """One power gauge a socket. The mailbox answers in milliseconds: a worker asks it."""

    name: ClassVar[str] = "hsmp"
    interface: ClassVar[Interface] = Interface.HSMP
    library: ClassVar[bool] = True
    fallback: ClassVar[bool] = False

    def __init__(self, config: HsmpConfig) -> None:
        self._config = config
        self._fd = -1
        self._sockets = 0
        self._doubts = Doubts()

    def open(self) -> Sequence[Sensor]:
        try:
            self._fd = os.open(self._config.device, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT,
                f"{self._config.device} does not exist: no AMD EPYC, or `modprobe amd_hsmp` is due",
            ) from None
        except OSError as error:
            raise SourceUnavailable(
                AbsentReason.PERMISSION_DENIED,
                f"{self._config.device} cannot be opened for reading: {error.strerror}",
            ) from None
        self._sockets = self._count_sockets()
        if not self._sockets:
            self.close()
            raise SourceUnavailable(
                AbsentReason.LIBRARY_FAILED, f"{self._config.device} answers for no socket"
            )
        return [self._sensor(socket) for socket in range(self._sockets)]

    def poll(self) -> Sequence[Reading]:
        try:
            return [
                Reading(socket, time.monotonic_ns(), self._ask(_GET_POWER, socket))
                for socket in range(self._sockets)
            ]
        except OSError as error:
            raise TransientReadError(f"{self._config.device}: {error.strerror}") from None

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        try:
            return [
                (socket, Throttle(limit_mw=self._limit_mw(socket)))
                for socket in range(self._sockets)
            ]
        except OSError:
            return ()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _limit_mw(self, socket: int) -> int | None:
        raw = self._ask(_GET_LIMIT, socket)
        return self._doubts.limit_mw(raw, f"{self._config.device}: limit of socket {socket} in mW")

    def _sensor(self, socket: int) -> Sensor:
        return Sensor(
            device=DeviceId(DeviceKind.CPU, socket),
            domain=Domain.PACKAGE,
            interface=self.interface,
            quantity=Quantity.POWER_MW,
            root=True,
            label=f"socket {socket}",
            max_power_mw=self._config.max_package_power_w * 1000,
        )

    def _count_sockets(self) -> int:
        for socket in range(_MAX_SOCKETS):
            try:
                self._ask(_GET_POWER, socket)
            except OSError as error:
                if socket == 0 and error.errno not in (errno.ENODEV, errno.EINVAL, errno.ENOTTY):
                    self.close()
                    raise SourceUnavailable(
                        AbsentReason.LIBRARY_FAILED, f"{self._config.device}: {error.strerror}"
                    ) from None
                return socket
        return _MAX_SOCKETS

    def _ask(self, message: int, socket: int) -> int:
        buffer = bytearray(_MESSAGE.pack(message, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, socket))
        fcntl.ioctl(self._fd, _COMMAND, buffer)
        return int(_MESSAGE.unpack(buffer)[3])
