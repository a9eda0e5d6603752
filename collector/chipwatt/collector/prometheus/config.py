"""``[prometheus]``: the endpoint for those who pull."""

from __future__ import annotations

from dataclasses import dataclass

from chipwatt.core.addresses import is_loopback, split_address

MAX_SERIES = 200_000


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """``[prometheus]``."""

    listen: str = ""
    """Address and port of http://.../metrics, for example "127.0.0.1:9734"; empty: no endpoint."""
    open_to_the_network: bool = False
    """Let listen be an address that others can reach: whoever can, may read, without TLS or
    password."""
    max_series: int = MAX_SERIES
    """Series that are shown at most, some 1 kB each; more are left out and counted."""

    def __post_init__(self) -> None:
        """Refuse an address that is none or that others can reach; raises ValueError."""
        if self.max_series < 1:
            raise ValueError("max_series is at least 1")
        if not self.listen:
            return
        host, _ = split_address(self.listen)
        if not (self.open_to_the_network or is_loopback(host)):
            raise ValueError(
                f"listen: {self.listen} can be reached from other machines, and anybody there may "
                "read; listen on 127.0.0.1 behind a proxy, or set open_to_the_network = true"
            )
