from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.cost_budget import MAX_FACTOR, CostBudget
from chipwatt.core.clock import NS_PER_S


class Spending:
    """A process whose polls cost what they cost: half the cost at twice the period."""

    def __init__(self, cpu_share: float, library_share: float) -> None:
        self.cpu_share = cpu_share
        self.library_share = library_share
        self.cpu_ns = self.library_ns = self.mono_ns = 0
        self.budget = CostBudget(0.01, 0.01, cpu_ns=lambda: self.cpu_ns, mono_ns=0)

    def run(self, assessments: int) -> list[tuple[int, int]]:
        factors = []
        for _ in range(assessments):
            self.mono_ns += 10 * NS_PER_S
            inline = self.budget.factor(library=False)
            library = self.budget.factor(library=True)
            self.cpu_ns += int(10 * NS_PER_S * self.cpu_share / inline)
            self.library_ns += int(10 * NS_PER_S * self.library_share / library)
            self.budget.assess(self.mono_ns, self.library_ns)
            factors.append((self.budget.factor(library=False), self.budget.factor(library=True)))
        return factors


def test_inside_the_budget_nothing_changes() -> None:
    assert set(Spending(0.009, 0.009).run(20)) == {(1, 1)}


def test_time_in_a_library_slows_the_library_alone() -> None:
    assert Spending(0.005, 0.035).run(20)[-1] == (1, 4)


def test_cpu_time_slows_everything() -> None:
    assert Spending(0.035, 0.001).run(20)[-1] == (4, 4)


@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_the_factor_settles_bounded_and_as_low_as_the_budget_allows(
    cpu_share: float, library_share: float
) -> None:
    spending = Spending(cpu_share, library_share)
    factors = spending.run(60)
    assert len(set(factors[-20:])) == 1, "it swings"
    inline, library = factors[-1]
    assert 1 <= inline <= library <= MAX_FACTOR
    assert cpu_share / inline <= 0.01 or inline == MAX_FACTOR
    assert inline == 1 or cpu_share / (inline // 2) > 0.01 * 0.79


def test_polls_come_back_once_the_cost_has_gone() -> None:
    spending = Spending(0.1, 0.0)
    assert spending.run(10)[-1] == (16, 16)
    spending.cpu_share = 0.001
    factors = spending.run(30)
    assert factors[-1] == (1, 1)
    assert factors[0] == (16, 16), "one calm assessment is not enough"


def test_what_was_spent_before_a_restart_is_not_judged() -> None:
    spending = Spending(0.0, 0.0)
    spending.cpu_ns = 10 * NS_PER_S
    spending.budget.restart(0, 0)
    assert spending.run(1) == [(1, 1)]
