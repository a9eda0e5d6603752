"""Who is at the other end of a Unix socket, as the kernel says it."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid


class Peer(NamedTuple):
    """A process that connected, or that listened when it was connected to."""

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> Peer:
    """Return the peer of a connected Unix socket. Raises OSError."""
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)
