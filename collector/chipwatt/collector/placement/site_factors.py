"""What energy costs at a site, as its operator says: PUE, water and carbon, with a forecast.

A set of factors holds from its start until a later one begins. One with an end is a
window laid over the others: after it, what began before holds again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc

from chipwatt.collector.answering import Refused, invalid
from chipwatt.collector.placement.score import SiteCost
from chipwatt.collector.placement.site_timeline import (
    Stretch,
    carbon_at,
    has_ended,
    mean_carbon,
    stretches,
)
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
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
        """Check factors and keep them; return them as kept. A start of 0 means now.

        Raises Refused where a field cannot be used, or as many sets of the site as are kept
        hold now or later.
        """
        kept = pb.SiteFactors()
        kept.CopyFrom(factors)
        kept.DiscardUnknownFields()
        kept.received_unix_ns = self._unix_ns()
        kept.valid_from_unix_ns = factors.valid_from_unix_ns or kept.received_unix_ns
        check_factors(kept)
        with self._lock:
            sets = [f for f in self._sets.get(kept.site_id, []) if _start(f) != _start(kept)]
            sets = _to_keep(sorted([*sets, kept], key=_start), kept.received_unix_ns)
            rows = [(f.site_id, _start(f), f.SerializeToString()) for f in sets]
            with told(self._path, "keep site factors"), writing(self._connection) as connection:
                connection.execute("DELETE FROM site_factors WHERE site_id = ?", (kept.site_id,))
                connection.executemany("INSERT INTO site_factors VALUES (?, ?, ?)", rows)
            self._sets[kept.site_id] = sets
        return kept

    def get(self, request: pb.GetSiteFactorsRequest) -> pb.GetSiteFactorsResponse | None:
        """Return what holds at a request's start or in its window; None: nothing does.

        Raises Refused where its times are no window.
        """
        now_unix_ns = self._unix_ns()
        if request.start_unix_ns < 0:
            raise invalid("start_unix_ns: before 1970")
        start_unix_ns = request.start_unix_ns or now_unix_ns
        end_unix_ns = request.end_unix_ns or start_unix_ns + 1
        if end_unix_ns <= start_unix_ns:
            raise invalid("end_unix_ns: not after start_unix_ns (0: now)")
        parts = stretches(self._of(request.site_id), start_unix_ns, end_unix_ns)
        if not parts:
            return None
        first = parts[0]
        answer = pb.GetSiteFactorsResponse(
            factors=first.factors,
            age_ms=max(0, now_unix_ns - first.factors.received_unix_ns) // NS_PER_MS,
            carbon_mg_per_kwh=carbon_at(first.factors, first.start_unix_ns),
        )
        if request.end_unix_ns:
            answer.mean_carbon_mg_per_kwh = round(mean_carbon(parts))
            answer.parts.extend(part.message() for part in parts)
        return answer

    def costs(self, site_ids: Sequence[str], duration_s: int) -> dict[str, SiteCost]:
        """Return what energy costs at the sites known now, over so many seconds from now."""
        start_unix_ns = self._unix_ns()
        end_unix_ns = start_unix_ns + max(1, duration_s) * NS_PER_S
        found = {}
        for site_id in site_ids:
            parts = stretches(self._of(site_id), start_unix_ns, end_unix_ns)
            if parts and parts[0].start_unix_ns == start_unix_ns:
                found[site_id] = _cost(parts)
        return found

    def _of(self, site_id: str) -> list[pb.SiteFactors]:
        with self._lock:
            return self._sets.get(site_id, [])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def check_factors(factors: pb.SiteFactors) -> None:
    """Raise Refused (INVALID_ARGUMENT) unless every field can be used; the start is set."""
    if not WHOLE_PPM <= factors.pue_ppm <= MAX_PUE_PPM:
        raise invalid(f"factors.pue_ppm: {factors.pue_ppm}, not 1,000,000 to {MAX_PUE_PPM:,}")
    if factors.water_ml_per_kwh > MAX_WATER_ML_PER_KWH:
        raise invalid(f"factors.water_ml_per_kwh: above {MAX_WATER_ML_PER_KWH:,}")
    _check_carbon("factors.carbon_mg_per_kwh", factors.carbon_mg_per_kwh)
    if factors.valid_from_unix_ns < 0:
        raise invalid("factors.valid_from_unix_ns: before 1970")
    until_unix_ns = factors.valid_until_unix_ns
    if until_unix_ns and until_unix_ns <= factors.valid_from_unix_ns:
        raise invalid("factors.valid_until_unix_ns: not after valid_from_unix_ns (0: now)")
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
        if has_ended(factors, step.start_unix_ns):
            raise invalid(f"{field}.start_unix_ns: not before valid_until_unix_ns")
        before = step.start_unix_ns


def _check_carbon(field: str, carbon_mg: int) -> None:
    if carbon_mg > MAX_CARBON_MG_PER_KWH:
        raise invalid(f"{field}: above {MAX_CARBON_MG_PER_KWH:,} (5 kg)")


def _cost(parts: Sequence[Stretch]) -> SiteCost:
    """Return the mean over the time that is known."""
    carbon = water = total_ns = 0.0
    for part in parts:
        carbon += part.duration_ns * part.carbon_mg_per_kwh * part.factors.pue_ppm / WHOLE_PPM
        water += part.duration_ns * part.factors.water_ml_per_kwh
        total_ns += part.duration_ns
    return SiteCost(carbon / total_ns, water / total_ns)


def _to_keep(sets: Sequence[pb.SiteFactors], now_unix_ns: int) -> list[pb.SiteFactors]:
    """Drop the earliest of those that are over, where there are too many."""
    over = len(sets) - KEPT_A_SITE
    if over <= 0:
        return list(sets)
    endless = (_start(f) for f in sets if not f.valid_until_unix_ns and _start(f) <= now_unix_ns)
    taken_over_unix_ns = max(endless, default=0)
    past = [f for f in sets if has_ended(f, now_unix_ns) or _start(f) < taken_over_unix_ns]
    if len(past) < over:
        raise Refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"factors: {KEPT_A_SITE} sets of this site that hold now or later are kept already; "
            "give one of the same start anew, or more steps of carbon_forecast in one",
        )
    dropped = {_start(f) for f in past[:over]}
    return [f for f in sets if _start(f) not in dropped]


def _start(factors: pb.SiteFactors) -> int:
    return factors.valid_from_unix_ns
