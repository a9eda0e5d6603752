"""The hall that reservations are tried in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.collector.placement.hall import Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with Hall(tmp_path) as hall:
        hall.history(100, 100, 100, 100)
        yield hall
