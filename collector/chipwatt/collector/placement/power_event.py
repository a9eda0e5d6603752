"""What can happen in a power topology, and from where on it is told.

Every kind has a level, a share of some limit. It is raised once when the level reaches
its threshold and cleared once when the level falls more than five points below, so that
a level that trembles at the threshold is told once.

==============  ============================================  =========================
kind            level                                         raised at
==============  ============================================  =========================
THRESHOLD_1     power now / budget                            80 %
THRESHOLD_2     the same                                      89 %
OVER_BUDGET     the same                                      100 %
BREAKER_RISK    power now / what the breaker carries for ever 100 %, tripping within 10 min
FEED_LOSS       1 where every host that lives of this feed,   100 %
                UPS or PDU alone fell silent at once
RAMP            change in ten seconds, or twice the change    20 %
                in one / budget
SWING_BAND      to and fro within ten seconds / budget        20 %
TELEMETRY_LOST  silent hosts / hosts ever heard, beneath      50 %
==============  ============================================  =========================

80 % and 89 % are the two thresholds of POLCA (ASPLOS 2024, arXiv 2308.12908). As everywhere, a
host that is not heard from counts with what it may draw, so losing telemetry can raise a
threshold above it; TELEMETRY_LOST beside it says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class PowerEventKind(IntEnum):
    """What has happened; numbers equal those of ``chipwatt.v1.PowerEventKind``."""

    THRESHOLD_1 = 1
    THRESHOLD_2 = 2
    OVER_BUDGET = 3
    BREAKER_RISK = 4
    FEED_LOSS = 5
    RAMP = 6
    SWING_BAND = 7
    TELEMETRY_LOST = 8
    CLEARED = 9


class Severity(IntEnum):
    """How bad it is; numbers equal those of ``chipwatt.v1.Severity``."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """From where on a kind is told."""

    kind: PowerEventKind
    severity: Severity
    """Of its end too: who is told that it began is told that it is over."""
    raise_at: float
    """Share of the limit."""
    wants_caps: bool = False
    """Whether it comes with advice on whom to cap."""

    @property
    def clear_below(self) -> float:
        return self.raise_at - 0.05


RULES = (
    Rule(PowerEventKind.THRESHOLD_1, Severity.INFO, 0.80),
    Rule(PowerEventKind.THRESHOLD_2, Severity.WARNING, 0.89, wants_caps=True),
    Rule(PowerEventKind.OVER_BUDGET, Severity.CRITICAL, 1.0, wants_caps=True),
    Rule(PowerEventKind.BREAKER_RISK, Severity.CRITICAL, 1.0, wants_caps=True),
    Rule(PowerEventKind.FEED_LOSS, Severity.CRITICAL, 1.0),
    Rule(PowerEventKind.RAMP, Severity.WARNING, 0.20),
    Rule(PowerEventKind.SWING_BAND, Severity.WARNING, 0.20),
    Rule(PowerEventKind.TELEMETRY_LOST, Severity.WARNING, 0.50),
)
"""One a kind, in the order of the rows of every array of levels."""
ROW = {rule.kind: row for row, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class CapAdvice:
    """What would help; nobody here carries it out. Power in mW."""

    target_id: str
    cap_mw: int
    priority: int
    expected_saving_mw: int
    """At the node that the event is about."""


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """Something began, or with ``is_over`` ended, at a node. Power in mW."""

    node_id: str
    rule: Rule
    is_over: bool
    at_unix_ns: int
    observed_mw: int
    limit_mw: int
    """What ``observed_mw`` reached, or of an end fell below; 0 where power is not the matter."""
    time_to_trip_s: int = 0
    """At this power; 0: unknown, or no trip to expect."""
    advice: tuple[CapAdvice, ...] = ()
    """In the order in which to follow it."""
