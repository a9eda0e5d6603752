"""Settings of who gets in, beside the certificates themselves."""

from __future__ import annotations

from dataclasses import dataclass

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration

_HOUR = Duration(3_600 * NS_PER_S)
_IDLE = Duration(600 * NS_PER_S)
MAX_CALLS_A_SOURCE = 25_000


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """``[access]``."""

    connection_age: Duration = _HOUR
    """With TLS, how long a connection lives before it must be made, and its certificate checked,
    again. A certificate's own end is looked at with every message in any case."""
    stream_idle: Duration = _IDLE
    """How long an agent's stream may send nothing, and a connection carry no call, before the
    collector ends it; the agent connects again when it has something to say."""
    calls_per_source: int = MAX_CALLS_A_SOURCE
    """Calls and streams open at once from one address. A fleet behind one address needs as many as
    it has hosts."""

    def __post_init__(self) -> None:
        """Refuse what would lock everybody out; raises ValueError."""
        for name in ("connection_age", "stream_idle"):
            if getattr(self, name) < NS_PER_S:
                raise ValueError(f"{name} is at least 1s")
        if self.calls_per_source < 1:
            raise ValueError("calls_per_source is at least 1")
