"""The bench of cost: when it complains, and what it says."""

from __future__ import annotations

import pytest

from bench.cost import Cost, Row, verdict


def row(agent: float = 0.2, sensing: float = 0.5, mib: float = 25.0) -> Row:
    return Row(
        "a host", {"agent": Cost(agent, mib), "sensing": Cost(sensing, mib)}, "cpu 50 polls/s"
    )


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ([row()], 0, "cost ok: at most 0.70 % of a core (bound 1 %) and 50.0 MiB (bound 60 MiB)"),
        ([row(), row(sensing=0.81)], 1, "cost BROKEN: at most 1.01 % of a core"),
        ([row(mib=30.1), row()], 1, "cost BROKEN: at most 0.70 % of a core (bound 1 %) and 60.2"),
        ([row(0.25, 0.75, 30.0)], 0, "cost ok: at most 1.00 %"),
    ],
)
def test_the_dearest_host_decides(rows: list[Row], code: int, words: str) -> None:
    line, found = verdict(rows)
    assert found == code
    assert line.startswith(words)


def test_a_line_tells_each_process_and_both() -> None:
    assert row().line().split() == [
        *("a", "host", "agent", "0.20", "%", "25.0", "MiB", "sensing", "0.50", "%", "25.0", "MiB"),
        *("together", "0.70", "%", "50.0", "MiB", "cpu", "50", "polls/s"),
    ]
