"""An operator's own power series from a CSV file, on a grid of seconds."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from chipwatt.core.tables import Array


class SeriesError(Exception):
    """The file cannot be used; the message says why and in which line."""


def read_series(path: Path, hours: int) -> tuple[list[str], Array, float]:
    """Return column names, watts (a row a column, a column a second) and the highest value.

    Between its times a series holds its last value; at most ``hours`` from the first time.
    Times are seconds, or ISO 8601.
    """
    times, values = [], []
    try:
        with path.open(newline="") as file:
            reader = csv.reader(file)
            names = next(reader, [])[1:]
            for row in reader:
                if len(row) != len(names) + 1:
                    raise ValueError(f"{len(row)} cells, not {len(names) + 1}")  # noqa: TRY301
                times.append(_seconds(row[0]))
                values.append([float(cell) for cell in row[1:]])
    except OSError as error:
        raise SeriesError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SeriesError(f"{path}: line {len(values) + 2}: {error}") from error
    if not names or len(times) < 2 or not (np.diff(times) >= 0).all():
        raise SeriesError(f"{path}: needs a column of rising times and one of watts a node")
    watts = np.array(values)
    if not np.isfinite(watts).all() or watts.min() < 0 or watts.max() <= 0:
        raise SeriesError(f"{path}: watts must be finite, not negative, and not all 0")
    start = times[0]
    grid = np.arange(int(min(times[-1] - start, hours * 3_600)) + 1)
    place = np.searchsorted(np.array(times) - start, grid, side="right") - 1
    return names, watts[place].T, float(watts.max())


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
