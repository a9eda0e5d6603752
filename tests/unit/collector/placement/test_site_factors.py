from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.site_factors import (
    KEPT_A_SITE,
    SiteFactorsBook,
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


def got(book: SiteFactorsBook, start_hours: int = 0, end_hours: int = 0) -> pb.SiteFactors | None:
    answer = book.get(asked(start_hours, end_hours))
    return answer.factors if answer else None


def asked(start_hours: int = 0, end_hours: int = 0) -> pb.GetSiteFactorsRequest:
    """Hours from the beginning; 0: now, and no end."""
    return pb.GetSiteFactorsRequest(
        site_id="site",
        start_unix_ns=T0_UNIX_NS + start_hours * HOUR_NS if start_hours else 0,
        end_unix_ns=T0_UNIX_NS + end_hours * HOUR_NS if end_hours else 0,
    )


@pytest.fixture(name="clock")
def a_clock() -> VirtualClock:
    return VirtualClock(T0_UNIX_NS)


@pytest.fixture(name="book")
def a_book(tmp_path: Path, clock: VirtualClock) -> Iterator[SiteFactorsBook]:
    book = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    yield book
    book.close()


def step(hours: int, carbon: int) -> pb.CarbonForecast:
    return pb.CarbonForecast(start_unix_ns=T0_UNIX_NS + hours * HOUR_NS, carbon_mg_per_kwh=carbon)


def test_factors_hold_from_their_start_to_the_next_and_through_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock(T0_UNIX_NS)
    book = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    assert got(book) is None
    kept = book.put(factors(100))
    assert kept.valid_from_unix_ns == kept.received_unix_ns == T0_UNIX_NS
    book.put(factors(200, T0_UNIX_NS + HOUR_NS))
    book.close()
    again = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    for carbon in (100, 200):
        now = got(again)
        assert now is not None
        assert now.carbon_mg_per_kwh == carbon
        clock.step_wall(HOUR_NS)
    again.close()


def test_of_each_site_so_many_sets_are_kept(tmp_path: Path) -> None:
    book = SiteFactorsBook(tmp_path / "placement.sqlite", VirtualClock(T0_UNIX_NS).unix_ns)
    for number in range(KEPT_A_SITE + 5):
        book.put(factors(number, 1 + number))
        book.put(factors(number, 1 + number))
    now = got(book)
    assert now is not None
    assert now.carbon_mg_per_kwh == KEPT_A_SITE + 4
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


def test_a_window_is_laid_over_what_holds_without_end(
    tmp_path: Path, book: SiteFactorsBook, clock: VirtualClock
) -> None:
    book.put(factors(400))
    window = factors(
        100,
        T0_UNIX_NS + 2 * HOUR_NS,
        valid_until_unix_ns=T0_UNIX_NS + 4 * HOUR_NS,
        carbon_forecast=[step(3, 50)],
        pue_ppm=1_000_000,
    )
    kept = book.put(window)
    assert kept.valid_until_unix_ns == window.valid_until_unix_ns
    clock.step_wall(HOUR_NS)
    again = SiteFactorsBook(tmp_path / "placement.sqlite", clock.unix_ns)
    answer = again.get(asked(0, 6))
    again.close()
    assert answer is not None
    assert answer == book.get(asked(0, 6))
    hours = [
        (
            (part.valid_from_unix_ns - T0_UNIX_NS) // HOUR_NS,
            (part.valid_until_unix_ns - T0_UNIX_NS) // HOUR_NS,
            part.carbon_mg_per_kwh,
            [s.carbon_mg_per_kwh for s in part.carbon_forecast],
        )
        for part in answer.parts
    ]
    assert hours == [(1, 2, 400, []), (2, 4, 100, [50]), (4, 6, 400, [])]
    assert answer.mean_carbon_mg_per_kwh == (400 + 100 + 50 + 400 + 400) // 5
    assert answer.age_ms == 3_600_000
    (cost,) = book.costs(["site"], 5 * 3_600).values()
    assert cost.carbon == pytest.approx((400 * 1.2 * 3 + 100 + 50) / 5)


def test_without_a_window_the_forecast_tells_of_one_moment(book: SiteFactorsBook) -> None:
    kept = book.put(factors(400, carbon_forecast=[step(1, 200), step(2, 100)]))
    for hours, carbon in ((0, 400), (1, 200), (5, 100)):
        answer = book.get(asked(hours))
        assert answer is not None
        assert (answer.factors, answer.carbon_mg_per_kwh) == (kept, carbon)
        assert (list(answer.parts), answer.mean_carbon_mg_per_kwh) == ([], 0)


def test_what_nobody_told_is_a_gap(book: SiteFactorsBook, clock: VirtualClock) -> None:
    for begin in (1, 4):
        span = {"valid_until_unix_ns": T0_UNIX_NS + (begin + 1) * HOUR_NS}
        book.put(factors(begin, T0_UNIX_NS + begin * HOUR_NS, **span))
    assert got(book) is None
    assert got(book, 2, 4) is None
    assert book.costs(["site"], 8 * 3_600) == {}
    answer = book.get(asked(0, 9))
    assert answer is not None
    assert [part.carbon_mg_per_kwh for part in answer.parts] == [1, 4]
    assert answer.factors.carbon_mg_per_kwh == answer.carbon_mg_per_kwh == 1
    clock.step_wall(90 * 60 * NS_PER_S)
    assert book.costs(["site"], 3_600)["site"].carbon == pytest.approx(1.2)


def test_what_holds_now_or_later_is_not_pushed_out(
    book: SiteFactorsBook, clock: VirtualClock
) -> None:
    book.put(factors(7))

    def put(hour: int) -> None:
        at = T0_UNIX_NS + hour * HOUR_NS
        book.put(factors(hour, at, valid_until_unix_ns=at + HOUR_NS))

    for hour in range(1, KEPT_A_SITE):
        put(hour)
    with pytest.raises(Refused, match=r"^factors: 32 sets of this site .* kept already") as refused:
        put(KEPT_A_SITE)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    put(1)
    clock.step_wall(2 * HOUR_NS)
    put(KEPT_A_SITE)
    base = got(book, KEPT_A_SITE + 1)
    assert base is not None
    assert base.carbon_mg_per_kwh == 7
    assert book.get(asked(1, 2)) is not None
    clock.step_wall(HOUR_NS)
    book.put(factors(9))
    now = got(book, KEPT_A_SITE + 1)
    assert now is not None
    assert now.carbon_mg_per_kwh == 9


@pytest.mark.parametrize(
    ("start_unix_ns", "end_unix_ns", "field"),
    [
        (-1, 5, "start_unix_ns"),
        (5, -1, "end_unix_ns"),
        (5, 5, "end_unix_ns"),
        (6, 5, "end_unix_ns"),
        (0, T0_UNIX_NS, "end_unix_ns"),
    ],
)
def test_times_that_are_no_window_are_refused(
    book: SiteFactorsBook, start_unix_ns: int, end_unix_ns: int, field: str
) -> None:
    request = pb.GetSiteFactorsRequest(
        site_id="site", start_unix_ns=start_unix_ns, end_unix_ns=end_unix_ns
    )
    with pytest.raises(Refused, match=f"^{field}:"):
        book.get(request)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (factors(pue_ppm=999_999), "factors.pue_ppm"),
        (factors(pue_ppm=0), "factors.pue_ppm"),
        (factors(pue_ppm=10_000_001), "factors.pue_ppm"),
        (factors(water_ml_per_kwh=100_001), "factors.water_ml_per_kwh"),
        (factors(5_000_001), "factors.carbon_mg_per_kwh"),
        (factors(valid_from_unix_ns=-1), "factors.valid_from_unix_ns"),
        (factors(1, 9, valid_until_unix_ns=9), "factors.valid_until_unix_ns"),
        (factors(1, 9, valid_until_unix_ns=8), "factors.valid_until_unix_ns"),
        (factors(1, valid_until_unix_ns=-1), "factors.valid_until_unix_ns"),
        (
            factors(1, 9, valid_until_unix_ns=T0_UNIX_NS, carbon_forecast=[step(0, 1)]),
            "factors.carbon_forecast[0].start_unix_ns",
        ),
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
def test_factors_out_of_range_are_refused_by_their_field(
    book: SiteFactorsBook, wrong: pb.SiteFactors, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        book.put(wrong)
    assert str(refused.value).startswith(f"{field}:")
    assert got(book) is None


def test_factors_in_range_are_taken() -> None:
    check_factors(factors(carbon_forecast=[step(1, 1), step(2, 0)]))
