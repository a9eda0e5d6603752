"""Settings of the sensing process: section ``[sensing]`` and the ``[sources.<name>]`` tables.

The tables of the sources stay raw until the registry is at hand: each source
declares its own dataclass, and a site may add sources that we do not know.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chipwatt.agent.sensing.registry import Registered
from chipwatt.core import settings
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration

SourceTables = Mapping[str, Mapping[str, Any]]
"""``[sources.<name>]`` as TOML gave it, by name."""

MAX_RATE_HZ = 1000
_TWO_SECONDS = Duration(2 * NS_PER_S)
_MINUTE = Duration(60 * NS_PER_S)
_TWO_MINUTES = Duration(120 * NS_PER_S)
MOST_KEPT_NS = 600 * NS_PER_S
"""Raw readings are kept no longer (G4)."""
_TEN_SECONDS = Duration(10 * NS_PER_S)


@dataclass(frozen=True, slots=True)
class SensingConfig:
    """How sensors are read and reduced."""

    sources: tuple[str, ...] = ()
    """Sources to use, by name. Empty: every one that finds something here."""
    window: Duration = _TEN_SECONDS
    """Length of a device's window; windows are aligned to the wall clock."""
    batch: Duration = _TEN_SECONDS
    """How often finished seconds and windows are handed to the agent; at most `window`,
    which the default follows."""
    max_rate: int = 100
    """Polls of a source a second, at most, 1 to 1000. A sensor that refreshes more slowly is polled
    at half its refresh. More than the default needs a larger `cpu_budget`, too."""
    cpu_budget: float = 0.0075
    """Share of one core that the sensing process may use; polls become rarer to stay inside. The
    agent process beside it takes some 0.2 %: together they stay below 1 %."""
    library_budget: float = 0.01
    """Share of wall time that may be spent inside vendor libraries, whose locks others wait for."""
    real_time: bool = True
    """Sample at the lowest real-time priority where the kernel grants it (root, CAP_SYS_NICE, or
    LimitRTPRIO=1 in the unit): deadlines are then met on a busy machine, too."""
    call_timeout: Duration = _TWO_SECONDS
    """A call into a vendor library that takes longer marks its sensors as stalled."""
    exclusive: bool = True
    """Refuse to start while another agent of this host reads the same sensors: the collector would
    count their energy twice. Switch it off where the two have different collectors."""
    look_again: Duration = _MINUTE
    """Longest time between two looks for sources and sensors that were absent at the start."""
    raw_socket: Path | None = None
    """Where root and this user may read the raw readings of the last minutes, each use logged; none
    are kept if not set."""
    raw_keep: Duration = _TWO_MINUTES
    """How long raw readings are kept in memory, at most 10min."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError with the setting's name."""
        if not NS_PER_S <= self.window <= 3600 * NS_PER_S:
            raise ValueError("window must be between 1s and 1h")
        if self.batch == _TEN_SECONDS > self.window:
            object.__setattr__(self, "batch", self.window)  # the default follows a shorter window
        if not NS_PER_S <= self.batch <= self.window:
            raise ValueError("batch must be between 1s and window")
        if self.window % NS_PER_S or self.batch % NS_PER_S:
            raise ValueError("window and batch must be whole seconds")
        if not 1 <= self.max_rate <= MAX_RATE_HZ:
            raise ValueError(f"max_rate must be between 1 and {MAX_RATE_HZ} a second")
        for name in ("cpu_budget", "library_budget"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share: more than 0, at most 1 (0.01 is 1 %)")
        if self.call_timeout < 10 * NS_PER_MS:
            raise ValueError("call_timeout must be at least 10ms")
        if self.look_again < NS_PER_S:
            raise ValueError("look_again must be at least 1s")
        self._check_raw()

    def _check_raw(self) -> None:
        if not 0 < self.raw_keep <= MOST_KEPT_NS:
            raise ValueError("raw_keep is more than 0 and at most 10min")

    @property
    def fastest_ns(self) -> int:
        """Shortest time between two polls of one source, in ns."""
        return NS_PER_S // self.max_rate

    def to_plain(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        raw_socket = None if self.raw_socket is None else str(self.raw_socket.absolute())
        return {**asdict(self), "sources": list(self.sources), "raw_socket": raw_socket}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SensingConfig:
        """Read what ``to_plain`` gave; raises ConfigError where it is something else."""
        try:
            raw_socket = Path(plain["raw_socket"]) if plain.get("raw_socket") else None
            sources = tuple(plain.get("sources", ()))
            return cls(**{**plain, "sources": sources, "raw_socket": raw_socket})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"settings for the sensing process: {error}") from None


@dataclass(frozen=True, slots=True)
class Own:
    """What a sensing process reads for itself of the agent's file."""

    sensing: SensingConfig
    sources: SourceTables


def own_settings(path: Path) -> Own:
    """Read ``[sensing]`` and ``[sources]`` of the agent's file; raises ConfigError.

    The rest of the file is the agent's, whose network this process does not load.
    """
    table = settings.parse(path)
    sources = table.get("sources", {})
    if not isinstance(sources, Mapping):
        raise ConfigError(f"{path}: sources is a table, got {sources!r}")
    sensing = table.get("sensing", {})
    if not isinstance(sensing, Mapping):
        raise ConfigError(f"{path}: sensing is a table, got {sensing!r}")
    return Own(settings.build(SensingConfig, sensing, f"{path}: sensing"), sources)


def source_configs(
    registry: Mapping[str, Registered], sensing: SensingConfig, tables: SourceTables, where: str
) -> dict[str, Any]:
    """Build each registered source's configuration from its table, defaults where it has none.

    Raises ConfigError that names ``where``, table and key, also for a source
    that nobody registered.
    """
    for name in tables:
        _known(name, registry, f"{where}: [sources.{name}]")
    for name in sensing.sources:
        _known(name, registry, f"{where}: sensing.sources")
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"{where}: sources.{name} is a table, got {table!r}")
    return {
        name: settings.build(entry.config, tables.get(name, {}), f"{where}: [sources.{name}]")
        for name, entry in registry.items()
    }


def _known(name: str, registry: Mapping[str, Registered], where: str) -> None:
    if name not in registry:
        near = difflib.get_close_matches(name, registry, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(registry))}"
        raise ConfigError(f"{where}: no source is called {name!r}; {hint}")
