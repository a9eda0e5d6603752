"""What goes wrong, when, and what must come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NS_PER_S = 1_000_000_000
AT_NS = 6 * NS_PER_S
UNTIL_NS = 8 * NS_PER_S
_AT = ("reset_at_ns", "spike_at_ns", "backwards_at_ns")


@dataclass(frozen=True, slots=True)
class Fault:
    """Settings of the fakes; those that a fake does not know do nothing there."""

    settings: Mapping[str, int]
    epochs: int = 1
    """Counter lives that must be told apart."""
    gap: bool = False
    """Whether energy becomes unknowable to a counter, so that a gap is owed."""
    known: bool = True
    """Whether a gauge can be judged: what a frozen one shows may well be true."""
    flag: str = ""
    """A flag that is owed."""


NONE: Final = Fault({})
FAULTS: Final[Mapping[str, Fault]] = {
    # 2^32 steps of 61 uJ are 262 kJ: stand 1.5 kJ below the end.
    "wrap": Fault({"start_steps": (1 << 32) - 24_000_000}),
    # 2^32 steps of 0.35 uJ are 1.5 kJ: two wraps in ten seconds of 350 W.
    "double wrap": Fault({"unit_nj": 350}),
    "reset": Fault({"reset_at_ns": AT_NS}, epochs=2, gap=True),
    # No new value, or no answer, for two seconds; then all of it at once.
    "stall": Fault(
        {
            "freeze_at_ns": AT_NS,
            "freeze_until_ns": UNTIL_NS,
            "unknown_at_ns": AT_NS,
            "unknown_until_ns": UNTIL_NS,
        }
    ),
    "freeze": Fault({"freeze_at_ns": AT_NS - NS_PER_S}, gap=True, known=False),
    "spike": Fault({"spike_at_ns": AT_NS}),
    "backwards": Fault({"backwards_at_ns": AT_NS}),
    # The file, the event or the device is gone for two seconds.
    "denied": Fault(
        {
            "deny_at_ns": AT_NS,
            "deny_until_ns": UNTIL_NS,
            "fail_at_ns": AT_NS,
            "fail_until_ns": UNTIL_NS,
            "lost_at_ns": AT_NS,
            "lost_until_ns": UNTIL_NS,
        }
    ),
    "slow": Fault({"slow_ns": 3_000_000}),
}
"""By name."""
