"""The agent's configuration: one TOML file, every default in sight."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chipwatt.agent.channel import TlsConfig, check_address
from chipwatt.agent.endpoints import FailoverConfig
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.uplink_config import UplinkConfig, encoder
from chipwatt.agent.workload_service import WorkloadsConfig
from chipwatt.core import settings
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.log import LogConfig
from chipwatt.core.settings import Duration

WORKLOAD_SOCKET = "workload.sock"
SYSTEM_STATE = Path("/var/lib/chipwatt")
_DRAIN_GRACE = Duration(5 * NS_PER_S)


def default_state_dir(system: Path = SYSTEM_STATE) -> Path:
    """Return ``system`` where we may write it, else this user's own state folder."""
    existing = system if system.exists() else system.parent
    if os.access(existing, os.W_OK | os.X_OK):
        return system
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "chipwatt"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole file."""

    collector: str = "127.0.0.1:9733"
    """Where the collector listens: host:port, [v6]:port or unix:/path."""
    state_dir: Path = field(default_factory=default_state_dir)
    """Folder of the spool and of this host's id, where the machine has none."""
    status_file: Path | None = None
    """A JSON file that is replaced each second; status.json in the state_dir if not set."""
    sensing_socket: Path | None = None
    """Unix socket at which the agent meets a sensing process that a service manager starts, as
    `chipwatt sensing --socket PATH`. Not set: the agent starts one by itself."""
    drain_grace: Duration = _DRAIN_GRACE
    """How long an agent that was told to stop goes on to deliver; the rest waits in the spool."""
    sensing: SensingConfig = field(default_factory=SensingConfig)
    """How sensors are read."""
    spool: SpoolConfig = field(default_factory=SpoolConfig)
    """What waits on disk for the collector."""
    uplink: UplinkConfig = field(default_factory=UplinkConfig)
    """The stream to the collector."""
    failover: FailoverConfig = field(default_factory=FailoverConfig)
    """Other ways to the same collector."""
    tls: TlsConfig = field(default_factory=TlsConfig)
    """Encryption, and who this host is."""
    workloads: WorkloadsConfig = field(default_factory=WorkloadsConfig)
    """Which workloads run here, as a scheduler says."""
    log: LogConfig = field(default_factory=LogConfig)
    """Lines on stderr."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """One table a source; what stands in it is the source's own."""

    @property
    def workload_socket(self) -> Path:
        """Where schedulers say which workloads run here."""
        return self.workloads.socket or self.state_dir / WORKLOAD_SOCKET

    @property
    def status_path(self) -> Path:
        """Where the status file is."""
        return self.status_file or self.state_dir / "status.json"


def load(
    path: Path | None, collector: str | None = None, state_dir: Path | None = None
) -> AgentConfig:
    """Read a file (None: defaults); ``collector`` and ``state_dir`` win over it.

    Raises ConfigError where the file is wrong or the collector may not be
    reached this way. The sources' tables are not looked into, see ``complete``.
    """
    config = settings.load(AgentConfig, path)
    if collector is not None:
        config = replace(config, collector=collector)
    if state_dir is not None:
        config = replace(config, state_dir=state_dir)
    plaintext_allowed = config.uplink.insecure_plaintext_over_network
    for address in (config.collector, *config.failover.endpoints):
        check_address(address, config.tls, plaintext_allowed=plaintext_allowed)
    encoder(config.uplink.compression)
    return config


def complete(config: AgentConfig, where: str) -> AgentConfig:
    """Return ``config`` with every source's table checked and its defaults filled in.

    Imports every source, which the running agent avoids: there the sensing
    process does it. Raises ConfigError that names ``where``, table and key.
    """
    from chipwatt.agent.sensing import registry
    from chipwatt.agent.sensing_config import source_configs

    sources = source_configs(registry.load(), config.sensing, config.sources, where)
    return replace(config, sources=sources)
