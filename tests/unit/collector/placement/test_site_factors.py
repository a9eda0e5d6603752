from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.site_factors import (
    KEPT_A_SITE,
    SiteFactorsBook,
    carbon_mg_per_kwh,
    check_factors,
)
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.v1 import placement_pb2 as pb

T0_UNIX_NS = 1_790_000_000 * NS_PER_S
HOUR_NS = 3_600 * NS_PER_S


def factors(carbon: int = 300_000, valid_from_unix_ns: int = 0, **more: object) -> pb.SiteFactors:
    known: dict[str, object] = {"pue_ppm": 1_200_000, "water_ml_per_kwh": 300, **more}
    return pb.SiteFactors(
        site_id="site",
        carbon_mg_per_kwh=carbon,
        valid_from_unix_ns=valid_from_unix_ns,
        **known,  # type: ignore[arg-type]  # any field of the message
    )


def step(hours: int, carbon: int) -> pb.CarbonForecast:
    return pb.CarbonForecast(start_unix_ns=T0_UNIX_NS + hours * HOUR_NS, carbon_mg_per_kwh=carbon)


def test_factors_hold_from_their_start_to_the_next_and_through_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock(T0_UNIX_NS)
    book = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    assert book.get("site") is None
    kept = book.put(factors(100))
    assert kept.valid_from_unix_ns == kept.received_unix_ns == T0_UNIX_NS
    book.put(factors(200, T0_UNIX_NS + HOUR_NS))
    book.close()
    again = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    for carbon in (100, 200):
        got = again.get("site")
        assert got is not None
        assert got.carbon_mg_per_kwh == carbon
        clock.step_wall(HOUR_NS)
    again.close()


def test_of_each_site_so_many_sets_are_kept(tmp_path: Path) -> None:
    book = SiteFactorsBook(tmp_path / "placement.sqlite", VirtualClock(T0_UNIX_NS).unix_ns)
    for number in range(KEPT_A_SITE + 5):
        book.put(factors(number, 1 + number))
        book.put(factors(number, 1 + number))
    got = book.get("site")
    assert got is not None
    assert got.carbon_mg_per_kwh == KEPT_A_SITE + 4
    (count,) = book._connection.execute("SELECT count(*) FROM site_factors").fetchone()
    assert count == KEPT_A_SITE
    book.close()


def test_energy_costs_what_the_forecast_says_while_the_workload_runs(tmp_path: Path) -> None:
    book = SiteFactorsBook(tmp_path / "placement.sqlite", VirtualClock(T0_UNIX_NS).unix_ns)
    book.put(factors(400, carbon_forecast=[step(1, 200), step(2, 100)]))
    for hours, carbon in ((1, 400), (2, 300), (4, (400 + 200 + 100 + 100) / 4)):
        costs = book.costs(["site", "elsewhere"], hours * 3_600)
        assert costs["site"].carbon == pytest.approx(carbon * 1.2)
        assert costs["site"].water == 300
        assert set(costs) == {"site"}
    book.close()


@given(st.lists(st.tuples(st.integers(1, 48), st.integers(0, 900)), max_size=8), st.integers(1, 72))
def test_carbon_is_the_mean_over_the_hours(steps: list[tuple[int, int]], hours: int) -> None:
    of_hour = dict(steps)
    known = factors(500, carbon_forecast=[step(at, of_hour[at]) for at in sorted(of_hour)])
    now, total = 500, 0
    for hour in range(hours):
        now = of_hour.get(hour, now)
        total += now
    got = carbon_mg_per_kwh(known, T0_UNIX_NS, T0_UNIX_NS + hours * HOUR_NS)
    assert got == pytest.approx(total / hours)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (factors(pue_ppm=999_999), "factors.pue_ppm"),
        (factors(pue_ppm=0), "factors.pue_ppm"),
        (factors(pue_ppm=10_000_001), "factors.pue_ppm"),
        (factors(water_ml_per_kwh=100_001), "factors.water_ml_per_kwh"),
        (factors(5_000_001), "factors.carbon_mg_per_kwh"),
        (factors(valid_from_unix_ns=-1), "factors.valid_from_unix_ns"),
        (factors(source="x" * 201), "factors.source"),
        (
            factors(carbon_forecast=[step(2, 1), step(2, 1)]),
            "factors.carbon_forecast[1].start_unix_ns",
        ),
        (
            factors(carbon_forecast=[step(1, 5_000_001)]),
            "factors.carbon_forecast[0].carbon_mg_per_kwh",
        ),
        (factors(carbon_forecast=[step(n, 1) for n in range(1_001)]), "factors.carbon_forecast"),
    ],
)
def test_factors_out_of_range_are_refused_by_their_field(wrong: pb.SiteFactors, field: str) -> None:
    with pytest.raises(Refused) as refused:
        check_factors(wrong)
    assert str(refused.value).startswith(f"{field}:")


def test_factors_in_range_are_taken() -> None:
    check_factors(factors(carbon_forecast=[step(1, 1), step(2, 0)]))
