from collections.abc import Sequence
from pathlib import Path

import pytest

from chipwatt.collector.egress.budget import Budget
from chipwatt.collector.egress.workloads import Noisy, Told, confidential
from chipwatt.collector.store.workloads import Minute
from chipwatt.core.errors import StoreError
from fakes.workload_records import LIMIT_MW, a_workload

HOST, OTHER = b"h" * 16, b"o" * 16
FIRST = 30_000_000
"""A minute since 1970 in which a five begins."""
NOW_UNIX_NS = FIRST * 60 * 10**9


def minutes(numbers: Sequence[int], host: bytes = HOST) -> list[Minute]:
    return [Minute(n, host, (a_workload(0, FIRST + n), a_workload(1, FIRST + n))) for n in numbers]


def noisy(budget: Budget) -> Noisy:
    return Noisy(budget, list, lambda: NOW_UNIX_NS)


def test_a_minute_is_told_as_coarse_as_it_came_and_the_bucket_is_not() -> None:
    (told,) = confidential(minutes([0]))
    assert told == Told(
        HOST, (1).to_bytes(16), bytes(range(16)), NOW_UNIX_NS, NOW_UNIX_NS + 60 * 10**9,
        LIMIT_MW * 8 // 15, (1, 1, 1, 0.5, 0, 0, 0),
    )  # fmt: skip


def test_five_minutes_are_one_release_and_cost_one_epsilon(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "b.sqlite", 1)
    policy = noisy(budget)
    assert list(policy.told(minutes(range(4)))) == []
    (told,) = policy.told(minutes([4]))
    assert told.end_unix_ns - told.start_unix_ns == 300 * 10**9
    assert list(told.above) == [1, 1, 1, 0.5, 0, 0, 0]
    assert told.mean_mw == LIMIT_MW // 2
    assert list(policy.told(minutes(range(5, 10)))) == []
    assert budget.refused == 1
    budget.close()


def test_what_lacks_a_minute_or_is_of_two_hosts_is_not_released(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "b.sqlite", 10)
    policy = noisy(budget)
    assert list(policy.told(minutes([0, 1, 2, 4, 5, 6, 7, 8]))) == []
    assert list(policy.told(minutes([3], OTHER))) == []
    assert len(list(policy.told(minutes([3])))) == 1
    budget.close()


def test_without_books_nothing_leaves(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "b.sqlite", 10)
    policy = noisy(budget)
    budget.close()
    with pytest.raises(StoreError):
        list(policy.told(minutes(range(5))))


@pytest.mark.parametrize("lost", [3, 4])
def test_minutes_that_come_again_count_once(tmp_path: Path, lost: int) -> None:
    # A five with one minute twice would move by twice as much as the noise is made for.
    budget = Budget(tmp_path / "b.sqlite", 10)
    closed = Budget(tmp_path / "c.sqlite", 10)
    closed.close()
    policy = Noisy(closed, list, lambda: NOW_UNIX_NS)
    assert list(policy.told(minutes(range(lost)))) == []
    if lost == 4:
        with pytest.raises(StoreError):
            list(policy.told(minutes([4])))
    policy._budget = budget
    again = list(policy.told(minutes([2, 3])))
    assert len(again) == (lost == 4), "a five has five different minutes"
    assert len(again + list(policy.told(minutes([4])))) == 1
    budget.close()
