"""One collector and one agent on this host, as child processes, for ``up`` and ``replay``.

They speak TLS on loopback, too, with certificates that are made for this one run: what
other users of the host may reach is a port that knows nobody but its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from chipwatt.cli import extras, toml
from chipwatt.cli.children import Child, ChildFailed
from chipwatt.core import identity
from chipwatt.core.addresses import split_address
from chipwatt.core.errors import ConfigError
from chipwatt.core.tls import TlsFiles

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient

_READY_S = 30.0
_AGENT_STOP_S = 20.0
_LOOPBACK = "127.0.0.1:0"
_DOMAIN = "up.chipwatt.internal"
_DAYS = 365
"""Longer than any run of ``up``; a new one makes new certificates."""


class Station:
    """A context manager: what was started is ended, what was temporary is removed.

    ``state_dir`` None takes a fresh temporary folder. A kept folder is locked, so
    that two runs never share one. Raises ConfigError where it is in use.
    """

    def __init__(self, state_dir: Path | None) -> None:
        self._keep = state_dir is not None
        self._lock: IO[str] | None = None
        if state_dir is None:
            self.folder = Path(tempfile.mkdtemp(prefix="chipwatt-"))
        else:
            self.folder = state_dir.resolve()
            self._lock = _locked(self.folder)
        self.status_file = self.folder / "agent-status.json"
        self.tls = self.folder / "tls"
        """The bundle with which this user may ask the collector."""
        self._address = ""
        self._collector: Child | None = None
        self._agent: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def agent_pid(self) -> int:
        """Process id of the agent; 0 before it was started."""
        return self._agent.pid if self._agent else 0

    def start_collector(self, settings: toml.Table, listen: str = "") -> str:
        """Start the collector, and return the address at which it is ready.

        Raises ChildFailed with its own words where it does not come up.
        """
        self._make_certificates(listen or _LOOPBACK)
        own = toml.merged(settings, {"tls": self._tls_table("collector")})
        config = self._write("collector.toml", own)
        ready = self.folder / "collector-ready.json"
        ready.unlink(missing_ok=True)
        args = ["--config", str(config), "--listen", listen or _LOOPBACK]
        args += ["--state-dir", str(self.folder / "collector"), "--ready-file", str(ready)]
        self._collector = self._child("collector", args)
        self._collector.wait_for(ready.exists, _READY_S)
        self._address = str(json.loads(ready.read_text())["listening"])
        return self._address

    def client(self) -> CollectorClient:
        """Return a client of the collector that was started."""
        from chipwatt.client import CollectorClient

        files = TlsFiles.in_bundle(self.tls)
        return CollectorClient(self._address, ca=files.ca, cert=files.cert, key=files.key)

    def start_agent(self, settings: toml.Table, *options: str) -> None:
        """Start the agent with these settings and options; its state folder is the station's."""
        own = {
            "state_dir": self.folder / "agent",
            "status_file": self.status_file,
            "tls": self._tls_table("agent"),
        }
        config = self._write("agent.toml", {**settings, **own})
        self.status_file.unlink(missing_ok=True)
        self._agent = self._child("agent", ["--config", str(config), *options])

    def forget_agent(self) -> None:
        """Remove the agent's state of an earlier run, so that it starts without memory."""
        shutil.rmtree(self.folder / "agent", ignore_errors=True)

    def agent_status(self) -> Mapping[str, Any]:
        """Return what the agent last said of itself; empty before its first word."""
        try:
            status: Mapping[str, Any] = json.loads(self.status_file.read_text())
        except (OSError, ValueError):
            return {}
        return status

    def check(self) -> None:
        """Raise ChildFailed where one of them has ended."""
        for child in (self._collector, self._agent):
            if child is not None:
                child.check()

    def wait_for_agent(self, timeout_s: float) -> None:
        """Wait until the agent ends by itself; raises ChildFailed where it fails or is late."""
        if self._agent is None:
            return
        code = self._agent.wait(timeout_s)
        if code is None:
            raise ChildFailed(
                f"the agent was not done after {timeout_s:g} s; see {self._agent.log}."
            )
        if code:
            self._agent.check()

    def stop_agent(self) -> None:
        """End the agent, which first delivers what it has, and the collector stays."""
        if self._agent is not None:
            self._agent.stop(_AGENT_STOP_S)

    def close(self) -> None:
        """End both, agent first, and remove a temporary folder; safe to call twice."""
        self.stop_agent()
        if self._collector is not None:
            self._collector.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _make_certificates(self, listen: str) -> None:
        """Make an authority that nobody keeps, and what it signs for the three of this run."""
        extras.require("cryptography", "an agent and a collector of one's own", "collector")
        from chipwatt.core.authority import Authority
        from chipwatt.core.certificate import Holder

        try:
            host, _ = split_address(listen)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        authority = Authority.create(_DOMAIN)
        host_id = identity.host_id(self.folder / "agent").hex()
        for role, name, folder in (
            ("operator", "up", self.tls),
            ("collector", "up", self.tls / "collector"),
            ("agent", host_id, self.tls / "agent"),
        ):
            addresses = (host, "localhost") if role == "collector" else ()
            authority.issue(Holder(_DOMAIN, role, name), addresses, _DAYS).save(folder)

    def _tls_table(self, name: str) -> toml.Table:
        files = TlsFiles.in_bundle(self.tls / name)
        return {"ca": files.ca, "cert": files.cert, "key": files.key}

    def _child(self, name: str, args: list[str]) -> Child:
        log = self.folder / f"{name}.log"
        scratch = None if self._keep else self.folder
        return Child(name, f"chipwatt.{name}", args, log, scratch)

    def _write(self, name: str, settings: toml.Table) -> Path:
        path = self.folder / name
        path.write_text(toml.dumps(settings))
        return path


def _locked(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot keep state here: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with lock, contextlib.suppress(OSError):
            lock.seek(0)
            holder = lock.read().strip()
        raise ConfigError(
            f"{folder}: process {holder or 'of another user'} keeps its state here; end it or name "
            "another --state-dir."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
