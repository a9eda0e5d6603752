"""Who sees what of what is stored: one table of role and tier, asked by every reader.

An operator sees everything that the collector stores. Who is there for egress (OTLP,
``/metrics``, a client with that role) sees what ``privacy.egress`` grants. Placement
gets its answers from models and class profiles, reads no windows, and sees power by the
minute; agents read nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chipwatt.collector.access.role import Role
from chipwatt.collector.egress.config import Tier
from chipwatt.core.clock import NS_PER_S

CONFIDENTIAL_NS: Final = 60 * NS_PER_S
"""Finest window of a device outside the operator's trust (design §7)."""
_SETTLE_NS: Final = 30 * NS_PER_S


@dataclass(frozen=True, slots=True)
class View:
    """What somebody may see of devices."""

    finest_ns: int
    """Windows are no shorter than this; 0: as they were stored."""
    is_shielded: bool
    """Whether a device that one workload holds alone is as coarse as the workload."""
    has_seconds: bool
    """Whether sums over whole hosts are shown by the second, and the newest state."""

    def ends_by(self, now_unix_ns: int) -> int:
        """Return the end of the newest window that may be shown: one that no longer grows."""
        if not self.finest_ns:
            return 1 << 62
        return (now_unix_ns - _SETTLE_NS) // self.finest_ns * self.finest_ns


EVERYTHING: Final = View(finest_ns=0, is_shielded=False, has_seconds=True)
COARSE: Final = View(finest_ns=CONFIDENTIAL_NS, is_shielded=True, has_seconds=False)
_EGRESS: Final = {Tier.CONFIDENTIAL: COARSE, Tier.DP: COARSE, Tier.OPERATOR: EVERYTHING}
LOUD: Final = (
    'privacy.egress = "operator": every reader of OTLP and /metrics sees what each tenant\'s chips '
    "do; this is for fleets with one tenant"
)
"""Said at start and, in short, in every answer."""


def view_of(role: Role, tier: Tier) -> View | None:
    """Return what ``role`` may see under ``tier``; None: nothing of devices."""
    if role is Role.OPERATOR:
        return EVERYTHING
    return _EGRESS[tier] if role is Role.EGRESS else None


def sees_seconds(role: Role, tier: Tier) -> bool:
    """Return whether placement shows ``role`` the power of every second."""
    return role is Role.OPERATOR or tier is Tier.OPERATOR
