"""Real back ends, where they are installed: what is pushed to them is queried back.

``python -m tests.interop`` builds what is missing; see there for what is compared.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from interop.__main__ import BACKENDS, MINUTE_NS, Start
from interop.dashboards import broken_queries
from interop.history import MINUTES, History, write
from interop.install import OTELCOL, Recipe
from interop.judge import judge
from interop.outage import outage
from interop.push import push


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interop") / "store"


@pytest.fixture(scope="module")
def history(store: Path) -> History:
    return write(store, (time.time_ns() // MINUTE_NS - MINUTES - 2) * MINUTE_NS)


def binary_of(recipe: Recipe) -> Path:
    binary = recipe.path()
    if not binary.exists():
        pytest.skip(f"{recipe.name} is not installed: python -m tests.interop builds it")
    return binary


@pytest.mark.parametrize(("recipe", "start"), BACKENDS, ids=[one.name for one, _ in BACKENDS])
def test_what_was_stored_is_found(
    recipe: Recipe, start: Start, store: Path, history: History, tmp_path: Path
) -> None:
    binary = binary_of(recipe)
    shutil.copytree(store, tmp_path / "store")
    with start(binary, tmp_path) as backend:
        pushed = push(tmp_path / "store", backend, history.end_unix_ns)
        wrong = [
            str(finding) for finding in judge(backend, history, pushed) if not finding.is_right
        ]
        assert not wrong, "\n".join(wrong)
        assert not broken_queries(backend, history.end_unix_ns)


@pytest.mark.timeout(300)
def test_an_outage_of_half_an_hour_costs_nothing(tmp_path: Path) -> None:
    wrong = [str(one) for one in outage(binary_of(OTELCOL), tmp_path) if not one.is_right]
    assert not wrong, "\n".join(wrong)
