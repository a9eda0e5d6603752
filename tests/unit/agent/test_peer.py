"""The kernel's word for who is at the other end."""

from __future__ import annotations

import os
import socket

import pytest

from chipwatt.agent.peer import Peer, peer_of


def test_the_peer_of_a_pair_is_this_process() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        assert peer_of(ours) == Peer(os.getpid(), os.geteuid())


def test_a_socket_of_no_process_is_an_error() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            peer_of(sock)
