"""Meets a sensing process that somebody else starts, a service manager, on a Unix socket.

The agent listens; ``chipwatt sensing --socket PATH`` connects, and from then on they
talk as parent and child do. One connection is one life of a sensing process: where
it ends, the agent goes on with what it has and waits for the next. Who may connect
is a matter of the socket's folder and mode: its owner and its group.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

from chipwatt.agent import sensing_link as link
from chipwatt.agent.intake import Intake
from chipwatt.agent.peer import peer_of
from chipwatt.agent.sensing_child import SensingChild
from chipwatt.core import log
from chipwatt.core.errors import ConfigError, InvalidPayload

MODE = 0o660
_ANSWER_S = 1.0
_LEFT = 1
"""In place of the exit code, which only the process that started it is told."""
_log = log.get(__name__)


class SensingPeer(SensingChild):
    """One sensing process at a time, none of which is started here."""

    def __init__(self, settings: link.Start, intake: Intake, path: Path) -> None:
        """Listen at ``path``; raises ConfigError where that cannot be."""
        super().__init__(settings, intake)
        self._path = path
        self._listener = _listen(path)
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """None while no process is connected."""
        return self._pid

    async def run(self) -> None:
        """Return at the end of a replay or after ``stop``; the socket goes with it."""
        try:
            await super().run()
        finally:
            self._listener.close()
            self._path.unlink(missing_ok=True)

    async def _one_life(self) -> int:
        self._anew = False
        if not self._failure:
            self._failure = (
                f"no sensing process is connected at {self._path}: nothing is measured; start "
                f"`chipwatt sensing --socket {self._path}` or its unit"
            )
        ours = await self._meet()
        if ours is None:
            return 0
        with ours:
            self._pid, uid = peer_of(ours)
            _log.info("sensing process connected", pid=self._pid, uid=uid)
            teller = asyncio.create_task(self._tell(ours, lambda: _hang_up(ours)))
            try:
                await self._listen(ours)
            except InvalidPayload as error:
                _log.error("the sensing process speaks nonsense and is left", reason=error)
            finally:
                self._pid = None
                teller.cancel()
                await asyncio.gather(teller, return_exceptions=True)
        return _LEFT

    async def _meet(self) -> socket.socket | None:
        """Wait for a sensing process; None where the agent is to stop first."""
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(self._listener))
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((accepting, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (accepting, stopped):
            task.cancel()
        found, _ = await asyncio.gather(accepting, stopped, return_exceptions=True)
        if isinstance(found, BaseException):
            return None
        ours, _ = found
        ours.setblocking(False)
        return ours

    def _mourn(self, code: int, wait_s: float) -> None:
        """Say that it is gone, and draw the consequences."""
        _log.warning("sensing process left; waiting for the next", not_before_s=round(wait_s, 1))
        self._failure = "the sensing process has left: nothing is measured until it comes back"
        self._learn_from(code)


async def _hang_up(ours: socket.socket) -> None:
    with suppress(OSError):
        ours.shutdown(socket.SHUT_RDWR)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()  # of an agent that was killed
        listener.bind(str(path))
        path.chmod(MODE)  # before anybody can connect
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"sensing_socket: {path}: cannot listen there: {error.strerror or error}"
        ) from None
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)  # a live one may have as many waiting as it lets wait
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True
