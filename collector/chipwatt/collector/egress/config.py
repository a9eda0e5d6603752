"""``[privacy]``: what leaves the collector."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """What somebody outside the operator's own trust may see."""

    CONFIDENTIAL = "confidential"
    DP = "dp"
    OPERATOR = "operator"


DAILY_EPSILON = 288
"""One release in five minutes, all day."""


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """``[privacy]``."""

    egress: str = Tier.CONFIDENTIAL
    """What leaves by OTLP and /metrics: "confidential" (devices by the minute, coarse where one
    workload holds them alone), "dp" (of workloads with noise of differential privacy, too) or
    "operator" (all of it: for fleets with one tenant)."""
    dp_daily_epsilon: int = DAILY_EPSILON
    """With "dp": what a workload may spend of its privacy a day (UTC), 1 for each five minutes that
    leave. Once it is spent nothing of the workload leaves until the next day."""

    def __post_init__(self) -> None:
        """Refuse what is no tier and no budget; raises ValueError."""
        if self.egress not in tuple(Tier):
            raise ValueError(f"egress {self.egress!r} is none of {', '.join(Tier)}")
        if self.dp_daily_epsilon < 1:
            raise ValueError("dp_daily_epsilon is at least 1")

    @property
    def tier(self) -> Tier:
        """Return ``egress`` as what it is."""
        return Tier(self.egress)
