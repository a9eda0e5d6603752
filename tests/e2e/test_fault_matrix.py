"""The quick subset of the fault matrix, several rows at a time; the rest is in ``--full``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.faults import every
from e2e.faults.rows import Row
from e2e.faults.run import Result, run_row

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
AT_ONCE = 4
"""Rows mostly wait: four of them keep two cores half busy."""
QUICK = [row for row in every.rows() if not row.only_full]


@pytest.fixture(scope="module")
def result() -> Iterator[Callable[[Row], Result]]:
    """Run all rows in the background; ``CHIPWATT_FAULT_SEED`` replays a run."""
    seed = int(os.environ.get("CHIPWATT_FAULT_SEED") or secrets.randbits(32))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {row.name: pool.submit(run_row, row, seed, full=False) for row in QUICK}

        def of(row: Row) -> Result:
            found = running[row.name].result()
            assert found.verdict != "FAIL", f"seed {seed}: {found.why}"
            return found

        yield of
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("row", QUICK, ids=lambda row: f"{row.number}-{row.name}")
def test_row(row: Row, result: Callable[[Row], Result]) -> None:
    found = result(row)
    if found.verdict == "skip":
        pytest.skip(f"row {row.number}: {found.why}")
    assert found.counts.stored > 0


def test_every_row_of_the_matrix_has_a_test() -> None:
    assert {row.number for row in every.rows()} == set(range(1, 20)), "row 20 is the soak"
