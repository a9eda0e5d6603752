"""What is believed of the power limits and averaging intervals that firmware names.

Drivers show "not available" and "no limit" as the largest value of some width, or as garbage.
Such a number counts as not said, and is told once.

Sentinels are those seen as data in the field (slurm-job-exporter #30: 2^63 - 16 and 2^47;
DCGM #199: 2^32 - 1) and the largest values of each width. Some of them would be plausible: 2^32 - 1
µW is 4.3 kW.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from chipwatt.core.model import Domain

FLOOR_MW: Final = {
    Domain.PACKAGE: 600_000,
    Domain.CORE: 600_000,
    Domain.UNCORE: 200_000,
    Domain.DRAM: 200_000,
    Domain.PSYS: 2_000_000,
    Domain.BOARD: 300_000,
    Domain.MEMORY: 200_000,
    Domain.MODULE: 1_000_000,
}
"""Power that is possible whatever a limit says: too low a bound would drop true readings."""
SENTINELS: Final = frozenset(
    {
        (1 << 31) - 1,
        (1 << 32) - 1,
        1 << 47,
        (1 << 63) - 16,
        (1 << 63) - 1,
        (1 << 64) - 1,
    }
)
CEILING_MW: Final = 50_000_000
"""No limit of a chip or module is 50 kW; 2^16 - 1 W, which also stands for none, is above."""
LEAST_MW: Final = 2_000
"""No chip with a power sensor is held to less."""
_LEAST_MAX_MW: Final = 10_000
"""A largest limit below this is a wrong one: what has a limit at all draws more."""
_LONGEST_AVERAGE_MS: Final = 3_600_000
_log = logging.getLogger(__name__)


class Doubts:
    """Judges what one source read; tells everything that it does not believe once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def limit_mw(self, raw: Any, what: str, units_per_mw: int = 1) -> int | None:
        """Return a power limit in mW; None where none is told, 0 and nonsense included."""
        if raw is None or raw == 0:
            return None
        is_number = isinstance(raw, int) and raw not in SENTINELS
        if not is_number or not LEAST_MW * units_per_mw <= raw <= CEILING_MW * units_per_mw:
            self._tell(f"{what} shows {raw!r:.40}, which is no power limit: taken as not said")
            return None
        return int(raw) // units_per_mw

    def max_power_mw(
        self, max_limit_mw: int | None, domain: Domain, otherwise_mw: int, what: str
    ) -> int:
        """Return above what power is impossible: 1.5 times the largest limit, where one is told."""
        if max_limit_mw is None:
            return otherwise_mw
        if max_limit_mw < _LEAST_MAX_MW:
            self._tell(f"{what} says at most {max_limit_mw} mW: too little to be believed")
            return otherwise_mw
        return max(FLOOR_MW[domain], max_limit_mw * 3 // 2)

    def averaging_ms(self, raw: int | None, what: str) -> int:
        """Return an averaging interval; 0 where none is told, or one longer than an hour."""
        if raw is None or 0 <= raw <= _LONGEST_AVERAGE_MS:
            return raw or 0
        self._tell(f"{what} shows {raw!r:.40} ms, which nothing is averaged over: not believed")
        return 0

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < 100:
            self._told.add(sentence)
            _log.warning("%s", sentence)
