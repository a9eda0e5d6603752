from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.egress.budget import DAY_NS, Budget
from chipwatt.core.errors import StoreError

WHO, OTHER = b"w" * 16, b"o" * 16
NOW = 20_000 * DAY_NS + 5


def test_a_day_that_is_spent_refuses(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "budget.sqlite", 3)
    assert [budget.spend(WHO, 1, NOW) for _ in range(5)] == [True] * 3 + [False] * 2
    assert budget.refused == 2
    assert budget.spend(OTHER, 3, NOW)
    assert budget.spend(WHO, 3, NOW + DAY_NS)
    budget.close()


def test_what_was_spent_stays_spent_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    first = Budget(path, 2)
    assert first.spend(WHO, 2, NOW)
    first.close()
    second = Budget(path, 2)
    assert not second.spend(WHO, 1, NOW)
    # A clock that is set back does not give the day back.
    assert second.spend(WHO, 1, NOW + DAY_NS)
    assert not second.spend(WHO, 1, NOW)
    second.close()


def test_books_that_cannot_be_kept_let_nothing_leave(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "budget.sqlite", 2)
    budget.close()
    with pytest.raises(StoreError, match="privacy budget"):
        budget.spend(WHO, 1, NOW)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=25), st.integers(1, 9))
def test_no_day_is_ever_overspent(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]], daily: int
) -> None:
    budget = Budget(tmp_path_factory.mktemp("budget") / "budget.sqlite", daily)
    spent = dict.fromkeys(range(3), 0)
    for day, epsilon in asked:
        fits = spent[day] + epsilon <= daily
        assert budget.spend(WHO, epsilon, NOW + day * DAY_NS) == fits
        spent[day] += epsilon if fits else 0
    budget.close()
    assert max(spent.values()) <= daily


def test_a_leap_of_the_clock_forgets_no_day(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "budget.sqlite", 2)
    assert budget.spend(WHO, 2, NOW)
    for leap in (30, 31_000):
        assert budget.spend(WHO, 1, NOW + leap * DAY_NS)
        assert not budget.spend(WHO, 1, NOW)
    for day in range(1, 20):
        assert budget.spend(WHO, 1, NOW + day * DAY_NS)
    days = budget._connection.execute("SELECT count(DISTINCT day) FROM spent").fetchone()
    assert days[0] <= 16, "old days are forgotten"
    budget.close()


def test_books_that_are_gone_begin_with_a_day_that_is_spent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "budget.sqlite"
    Budget(path, 2).close()
    kept = Budget(path, 2, NOW)
    assert kept.spend(WHO, 1, NOW), "books that are there are as they are"
    kept.close()
    path.unlink()
    budget = Budget(path, 2, NOW)
    assert "no privacy budget is left today" in caplog.text
    assert not budget.spend(WHO, 1, NOW)
    budget.close()
    again = Budget(path, 2, NOW)
    assert not again.spend(OTHER, 1, NOW), "nor after another start"
    assert again.spend(WHO, 2, NOW + DAY_NS)
    again.close()
