"""Raw readings of the last minutes, for whoever runs this host, and who asked for them (G4).

Off unless ``sensing.raw_socket`` is set. They are in the memory of the sensing process
alone, at most ``sensing.raw_keep`` of them, and go to no disk, log or core dump. Who
connects to the socket (mode 0600) is asked of the kernel: root or the user of this
process, anybody else is turned away; a line in the log says so either way. An answer
is, for each sensor, ``u32 n``, n bytes of JSON ``{"device", "domain", "interface",
"quantity", "readings"}`` and as many pairs of little-endian i64: monotonic ns, value.

It is written between two deadlines, a piece ten times a second.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from chipwatt.agent.peer import peer_of
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.core.errors import ConfigError

PIECE_BYTES: Final = 64 << 10
MAX_BYTES: Final = 64 << 20
"""Of all readings together; what is older goes first, whatever was asked for."""
_PAIR: Final = 16
_SIZE: Final = struct.Struct("<I")
Take = Callable[[int, int], None]
_log = logging.getLogger(__name__)


class Ring:
    """One sensor's newest readings, oldest first."""

    def __init__(self, keep_ns: int, max_bytes: int) -> None:
        self._keep_ns = keep_ns
        self._most = max(2, max_bytes // _PAIR)
        self._pairs = array("q")
        self._first = 0
        """Place of the oldest pair that is still kept."""

    def take(self, mono_ns: int, value: int) -> None:
        """Add a reading and let those go that are too old or too many."""
        pairs = self._pairs
        pairs.append(mono_ns)
        pairs.append(value)
        first, oldest_ns = self._first, mono_ns - self._keep_ns
        while pairs[first] < oldest_ns or len(pairs) - first > 2 * self._most:
            first += 2
        self._first = first
        if first > len(pairs) // 2:  # the room is given back now and then, not each time
            del pairs[:first]
            self._first = 0

    def pairs(self) -> array[int]:
        """Return a copy of what is kept."""
        return self._pairs[self._first :]


class RawRings:
    """The readings of all sensors, and the socket at which they may be had."""

    def __init__(self, path: Path, keep_ns: int, sensors: Sequence[Sensor]) -> None:
        """Listen on ``path``; raises ConfigError where that cannot be."""
        self._path = path
        self._sensors = sensors
        share = MAX_BYTES // max(1, len(sensors))
        self._rings = [Ring(keep_ns, share) for _ in sensors]
        self._listener = _listen(path)
        self._client: socket.socket | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._piece = b""

    def taker(self, position: int) -> Take:
        """Return what keeps the readings of a sensor."""
        return self._rings[position].take

    def look(self, _mono_ns: int = 0) -> None:
        """Let somebody in, or go on with the answer to who is in; never waits."""
        if self._client is None:
            with suppress(BlockingIOError):
                self._welcome(self._listener.accept()[0])
            return
        try:
            self._send(self._client)
        except OSError:
            self._leave()

    def close(self) -> None:
        """Turn everybody away and take the socket off."""
        self._leave()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _welcome(self, client: socket.socket) -> None:
        client.setblocking(False)
        pid, uid = peer_of(client)
        if uid not in {0, os.geteuid()}:
            _log.warning("raw readings refused to uid %d, pid %d", uid, pid)
            client.close()
            return
        _log.warning("raw readings are read by uid %d, pid %d", uid, pid)
        self._client = client
        self._pieces = self._answer()
        self._piece = next(self._pieces, b"")

    def _send(self, client: socket.socket) -> None:
        left = PIECE_BYTES
        while self._piece and left > 0:
            try:
                sent = client.send(self._piece[:left])
            except BlockingIOError:
                return
            left -= sent
            self._piece = self._piece[sent:] or next(self._pieces, b"")
        if not self._piece:
            self._leave()

    def _answer(self) -> Iterator[bytes]:
        for sensor, ring in zip(self._sensors, self._rings, strict=True):
            pairs = ring.pairs()
            if sys.byteorder == "big":
                pairs.byteswap()
            head = {
                "device": str(sensor.device),
                "domain": sensor.domain.name,
                "interface": sensor.interface.name,
                "quantity": sensor.quantity.name,
                "readings": len(pairs) // 2,
            }
            text = json.dumps(head).encode()
            yield _SIZE.pack(len(text)) + text
            data = memoryview(pairs).cast("B")
            for at in range(0, len(data), PIECE_BYTES):
                yield bytes(data[at : at + PIECE_BYTES])

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._pieces, self._piece = None, iter(()), b""


def both(first: Take, second: Take) -> Take:
    """Return what gives a reading to two."""

    def take(mono_ns: int, value: int) -> None:
        first(mono_ns, value)
        second(mono_ns, value)

    return take


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # from its first moment on the socket is its owner's
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"sensing.raw_socket: {path}: no socket can be made there: {error.strerror or error}"
        ) from None
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener
