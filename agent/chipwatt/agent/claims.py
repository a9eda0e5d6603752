"""One agent a sensor: what keeps a second one of this host from reading what a first one reads.

Two agents with two state folders are two streams to a collector, and every joule comes
twice. So the sensing process claims each domain of each device that it reads, by
listening at an abstract Unix socket named after it: whoever wants the same finds it
whatever its state folder, user, mount namespace or temporary folder is, and a process that dies
gives its claims back. The name holds the paths that a source was told to look at
instead of the machine's own: fake trees are other sensors. Whoever connects is told
whose claim it is. Only claims of root and of our own user count: nobody else may keep us from
measuring. In another network namespace nobody is found; the collector then notices.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from chipwatt.agent.opening import Opened
from chipwatt.agent.peer import peer_of
from chipwatt.core.errors import ConfigError

PATIENCE_S: Final = 15.0
"""How long a claim of a process that is about to end is waited for."""
_LOOK_S: Final = 0.1
_ANSWER_S: Final = 0.5
_PAUSE_S: Final = 0.05
"""Between two answers: asking again and again costs the sampler next to nothing."""
_MOST_BYTES: Final = 4096
_log = logging.getLogger(__name__)


class Holder(NamedTuple):
    """Who has a claim."""

    pid: int
    uid: int
    told: str
    """``state folder /var/lib/chipwatt``, in its own words."""


def names(opened: Iterable[Opened], configs: Mapping[str, Any]) -> list[str]:
    """Return what is read: devices and domains, with the places that are not the machine's own."""
    found: set[str] = set()
    for each in opened:
        config = configs[each.name]
        places = [
            f"{field.name}={value}"
            for field in fields(config)
            if isinstance(value := getattr(config, field.name), Path) and value != field.default
        ]
        if each.worker is not None:
            places.append(os.environ.get("LD_LIBRARY_PATH", ""))
        for local in each.kept:
            sensor = each.sensors[local]
            found.add(" ".join((str(sensor.device), sensor.domain.name, *places)))
    return sorted(found)


class Claims:
    """The claims of this process; given back when it ends or ``close`` is called."""

    def __init__(self, state_dir: str) -> None:
        """Make none yet; ``state_dir`` is what others are told of us."""
        self._answer = f"state folder {state_dir or 'not known'}".encode()[:_MOST_BYTES]
        self._held: list[socket.socket] = []

    def take(
        self,
        wanted: Iterable[str],
        wait: Callable[[float], bool],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Claim all of ``wanted``.

        ``wait`` waits for so many seconds and returns whether to go on. Raises
        ConfigError where another agent has one of them for longer than ``patience_s``.
        """
        left_s = patience_s
        for name in wanted:
            while (holder := self._tried(name)) is not None:
                if left_s <= 0:
                    raise ConfigError(_refusal(name, holder))
                left_s -= _LOOK_S
                if not wait(_LOOK_S):
                    return
        if self._held:
            threading.Thread(target=self._serve, name="claims", daemon=True).start()

    def close(self) -> None:
        """Give everything back."""
        while self._held:
            self._held.pop().close()

    def _tried(self, name: str) -> Holder | None:
        try:
            return self._claim(name)
        except OSError as error:
            _log.warning("%s: cannot be claimed: %s", name, error.strerror)
            return None

    def _claim(self, name: str) -> Holder | None:
        """Claim one sensor; returns who has it already."""
        address = f"\0chipwatt-sensor-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(address)
            sock.listen(8)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            self._held.append(sock)
            return None
        holder = _ask(address)
        if holder is None:
            return Holder(0, 0, "about to end")
        if holder.uid not in {0, os.geteuid()}:
            _log.warning(
                "%s: process %d of user %d claims it; that is not believed",
                name,
                holder.pid,
                holder.uid,
            )
            return None
        return holder

    def _serve(self) -> None:
        """Tell whoever connects whose claims these are."""
        with selectors.DefaultSelector() as selector, suppress(OSError, ValueError):
            for sock in self._held:
                selector.register(sock, selectors.EVENT_READ, sock)
            while self._held:
                for key, _ in selector.select():
                    peer, _ = key.data.accept()
                    with peer, suppress(OSError):
                        peer.setblocking(False)
                        peer.send(self._answer)
                time.sleep(_PAUSE_S)


def _refusal(name: str, holder: Holder) -> str:
    device, domain, *_ = name.split()
    return (
        f"{device} {domain.lower()} is read by process {holder.pid} already ({holder.told}), and a "
        "collector would count the energy of two agents twice; end that one, or set "
        "sensing.exclusive = false where the two have different collectors"
    )


def _ask(address: str) -> Holder | None:
    """Return who listens at an address; None where nobody does any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_ANSWER_S)
        try:
            sock.connect(address)
            pid, uid = peer_of(sock)
        except OSError:
            return None
        told = b""
        with suppress(OSError):
            told = sock.recv(_MOST_BYTES)
    return Holder(pid, uid, told.decode("utf-8", "replace") or "state folder not known")
