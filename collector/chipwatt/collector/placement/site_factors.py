"""What energy costs at a site, as its operator says: PUE, water and carbon, with a forecast.

A set of factors holds from its ``valid_from_unix_ns`` until a later one begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from chipwatt.collector.answering import invalid
from chipwatt.collector.placement.score import SiteCost
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb

MAX_PUE_PPM = 10 * WHOLE_PPM
MAX_WATER_ML_PER_KWH = 100_000
MAX_CARBON_MG_PER_KWH = 5_000_000
"""Five kilograms: four times what lignite gives."""
MAX_FORECAST = 1_000
MAX_SOURCE = 200
KEPT_A_SITE = 32
_SCHEMA = """
CREATE TABLE IF NOT EXISTS site_factors (
  site_id TEXT NOT NULL, valid_from_unix_ns INTEGER NOT NULL, factors BLOB NOT NULL,
  PRIMARY KEY (site_id, valid_from_unix_ns)) WITHOUT ROWID;
"""


class SiteFactorsBook:
    """Factors on ``path``. Safe between threads; opening and putting raise StoreError."""

    def __init__(self, path: Path, unix_ns: Callable[[], int]) -> None:
        self._path = path
        self._unix_ns = unix_ns
        self._lock = threading.Lock()
        self._sets: dict[str, list[pb.SiteFactors]] = {}
        """By site; the earliest first."""
        with told(path, "open the site factors"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA)
                rows = self._connection.execute("SELECT factors FROM site_factors ORDER BY 1")
                for (row,) in rows:
                    factors = pb.SiteFactors.FromString(row)
                    self._sets.setdefault(factors.site_id, []).append(factors)
            except BaseException:
                self._connection.close()
                raise
        for kept in self._sets.values():
            kept.sort(key=_start)

    def put(self, factors: pb.SiteFactors) -> pb.SiteFactors:
        """Keep checked factors; return them as kept. A start of 0 means now."""
        kept = pb.SiteFactors()
        kept.CopyFrom(factors)
        kept.DiscardUnknownFields()
        kept.received_unix_ns = self._unix_ns()
        kept.valid_from_unix_ns = factors.valid_from_unix_ns or kept.received_unix_ns
        with self._lock:
            sets = [f for f in self._sets.get(kept.site_id, []) if _start(f) != _start(kept)]
            sets = sorted([*sets, kept], key=_start)
            rows = [(f.site_id, _start(f), f.SerializeToString()) for f in sets[-KEPT_A_SITE:]]
            with told(self._path, "keep site factors"), writing(self._connection) as connection:
                connection.execute("DELETE FROM site_factors WHERE site_id = ?", (kept.site_id,))
                connection.executemany("INSERT INTO site_factors VALUES (?, ?, ?)", rows)
            self._sets[kept.site_id] = sets[-KEPT_A_SITE:]
        return kept

    def get(self, site_id: str) -> pb.SiteFactors | None:
        """Return the factors that hold now; None: there are none yet."""
        now_unix_ns = self._unix_ns()
        with self._lock:
            valid = [f for f in self._sets.get(site_id, []) if _start(f) <= now_unix_ns]
        return valid[-1] if valid else None

    def costs(self, site_ids: Sequence[str], duration_s: int) -> dict[str, SiteCost]:
        """Return what energy costs at the sites that are known, over so many seconds from now."""
        start_unix_ns = self._unix_ns()
        end_unix_ns = start_unix_ns + max(1, duration_s) * NS_PER_S
        found = {}
        for site_id in site_ids:
            factors = self.get(site_id)
            if factors is not None:
                carbon = carbon_mg_per_kwh(factors, start_unix_ns, end_unix_ns)
                found[site_id] = SiteCost(
                    carbon * factors.pue_ppm / WHOLE_PPM, float(factors.water_ml_per_kwh)
                )
        return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def carbon_mg_per_kwh(factors: pb.SiteFactors, start_unix_ns: int, end_unix_ns: int) -> float:
    """Return the mean carbon intensity over a time; each step of the forecast lasts to the next."""
    steps = [(0, factors.carbon_mg_per_kwh)]
    steps += [(step.start_unix_ns, step.carbon_mg_per_kwh) for step in factors.carbon_forecast]
    ends = [start for start, _ in steps[1:]] + [end_unix_ns]
    total = 0
    for (start, carbon), end in zip(steps, ends, strict=True):
        total += carbon * max(0, min(end, end_unix_ns) - max(start, start_unix_ns))
    return total / (end_unix_ns - start_unix_ns)


def check_factors(factors: pb.SiteFactors) -> None:
    """Raise Refused (INVALID_ARGUMENT) unless every field can be used."""
    if not WHOLE_PPM <= factors.pue_ppm <= MAX_PUE_PPM:
        raise invalid(f"factors.pue_ppm: {factors.pue_ppm}, not 1,000,000 to {MAX_PUE_PPM:,}")
    if factors.water_ml_per_kwh > MAX_WATER_ML_PER_KWH:
        raise invalid(f"factors.water_ml_per_kwh: above {MAX_WATER_ML_PER_KWH:,}")
    _check_carbon("factors.carbon_mg_per_kwh", factors.carbon_mg_per_kwh)
    if factors.valid_from_unix_ns < 0:
        raise invalid("factors.valid_from_unix_ns: before 1970")
    if len(factors.source) > MAX_SOURCE:
        raise invalid(f"factors.source: longer than {MAX_SOURCE} characters")
    if len(factors.carbon_forecast) > MAX_FORECAST:
        raise invalid(f"factors.carbon_forecast: more than {MAX_FORECAST} steps")
    before = 0
    for number, step in enumerate(factors.carbon_forecast):
        field = f"factors.carbon_forecast[{number}]"
        _check_carbon(f"{field}.carbon_mg_per_kwh", step.carbon_mg_per_kwh)
        if step.start_unix_ns <= before:
            raise invalid(f"{field}.start_unix_ns: does not come after the step before it")
        before = step.start_unix_ns


def _check_carbon(field: str, carbon_mg: int) -> None:
    if carbon_mg > MAX_CARBON_MG_PER_KWH:
        raise invalid(f"{field}: above {MAX_CARBON_MG_PER_KWH:,} (5 kg)")


def _start(factors: pb.SiteFactors) -> int:
    return factors.valid_from_unix_ns
