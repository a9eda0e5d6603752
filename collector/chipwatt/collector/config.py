"""Settings of the collector: one TOML file, every key with a default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from chipwatt.collector.access.config import AccessConfig
from chipwatt.collector.egress.config import PrivacyConfig, Tier
from chipwatt.collector.egress.policy import CONFIDENTIAL_NS
from chipwatt.collector.enrolment.config import EnrolmentConfig
from chipwatt.collector.ingest.admission import MAX_STREAMS
from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.prometheus.config import PrometheusConfig
from chipwatt.collector.store.config import StoreConfig
from chipwatt.core.addresses import is_loopback, split_address
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.log import LogConfig
from chipwatt.core.settings import Duration
from chipwatt.core.tls import TlsFiles

SYSTEM_STATE_DIR = Path("/var/lib/chipwatt")
_NO_CADENCE = Duration(0)
DEFAULT_LISTEN = "127.0.0.1:9733"


def default_state_dir(system: Path = SYSTEM_STATE_DIR) -> Path:
    """Return ``system`` where we may write it, else this user's own state folder."""
    existing = system if system.exists() else system.parent
    if os.access(existing, os.W_OK | os.X_OK):
        return system
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "chipwatt"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """``[tls]``: all three, or none. Replaced files serve whoever connects from then on."""

    ca: Path | None = None
    """PEM file of the authority that signs the agents' and clients' certificates."""
    cert: Path | None = None
    """PEM file of this collector's certificate, with its chain."""
    key: Path | None = None
    """PEM file of the certificate's private key."""

    def __post_init__(self) -> None:
        """Refuse half a set; raises ValueError."""
        given = [path is not None for path in (self.ca, self.cert, self.key)]
        if any(given) and not all(given):
            raise ValueError("ca, cert and key go together: set all three or none")

    @property
    def is_set(self) -> bool:
        """Whether connections are to be encrypted."""
        return self.ca is not None

    @property
    def files(self) -> TlsFiles | None:
        """None for plain text."""
        if self.ca is None or self.cert is None or self.key is None:
            return None
        return TlsFiles(self.ca, self.cert, self.key)


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """Everything that can be set."""

    listen: str = DEFAULT_LISTEN
    """Address and port for agents and clients; port 0 takes any free one. An address that others
    can reach needs [tls]."""
    state_dir: Path = field(default_factory=default_state_dir)
    """Where the collector keeps what must survive a restart: the store, unless store.path says
    otherwise, reservations and class profiles (placement.sqlite), what the forecast has
    learned (forecast.npz), and what workloads have spent of their privacy (privacy.sqlite)."""
    topology: Path | None = None
    """Power topology (TOML, or YAML by its name). It is read again when it changes and on SIGHUP; a
    broken one leaves the one before in force. Not set: every host hangs on one site without a
    budget."""
    cadence: Duration = _NO_CADENCE
    """How much time a batch of an agent is to cover, 1s to 60s in whole seconds: short for fresh
    answers, long for few writes. 0 leaves it to each agent's `sensing.batch`."""
    max_streams: int = MAX_STREAMS
    """Agents that may be connected at once, some 50 kB each; one more is told to come back later
    and keeps its records."""
    insecure_plaintext_over_network: bool = False
    """Listen without TLS on an address that others can reach: whoever can, may read and write."""
    own_metrics: bool = True
    """Tell how the collector and the agents do, wherever metrics go."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """The books on disk: where, and how long each resolution is kept."""
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    """What leaves by OTLP and /metrics, and for whom."""
    otlp: OtlpConfig = field(default_factory=OtlpConfig)
    """Export to a metrics back end."""
    prometheus: PrometheusConfig = field(default_factory=PrometheusConfig)
    """The same metrics for those who pull."""
    tls: TlsConfig = field(default_factory=TlsConfig)
    """Encryption, and who may come in."""
    access: AccessConfig = field(default_factory=AccessConfig)
    """How long, and how often at once."""
    enrolment: EnrolmentConfig = field(default_factory=EnrolmentConfig)
    """Certificates for agents that have none yet, and for holders whose ends."""
    log: LogConfig = field(default_factory=LogConfig)
    """Lines on stderr."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and an address that is none or must not go without TLS.

        Raises ValueError.
        """
        if self.cadence % NS_PER_S or not 0 <= self.cadence <= 60 * NS_PER_S:
            raise ValueError("cadence: whole seconds from 1s to 60s, or 0s")
        if self.max_streams < 1:
            raise ValueError("max_streams is at least 1")
        is_export = bool(self.otlp.destinations() or self.prometheus.listen)
        is_fine = self.otlp.interval % CONFIDENTIAL_NS != 0
        if is_export and is_fine and self.privacy.tier is not Tier.OPERATOR:
            raise ValueError(
                "otlp.interval: whole minutes, for nothing finer leaves with privacy.egress = "
                f'"{self.privacy.egress}"; with one tenant set privacy.egress = "operator"'
            )
        if self.enrolment.listen and not self.tls.is_set:
            raise ValueError("enrolment: a token is sent over TLS alone: set [tls], too")
        host, _ = split_address(self.listen)
        if self.tls.is_set or self.insecure_plaintext_over_network or is_loopback(host):
            return
        raise ValueError(
            f"listen: {self.listen} can be reached from other machines, and without TLS anybody "
            "there may read and write; set ca, cert and key under [tls], or "
            "insecure_plaintext_over_network = true"
        )

    def store_config(self) -> StoreConfig:
        """Return the store's settings; its default path follows ``state_dir``."""
        if self.store.path != StoreConfig().path:
            return self.store
        return replace(self.store, path=self.state_dir / "store")
