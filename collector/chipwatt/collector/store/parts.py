"""Reading parts of the journal where pages of the catalogue may be damaged.

SQLite ends a scan at the first page that it cannot make sense of. From there on
parts are asked for one by one, so that only those on damaged pages are missing.
Positions have no holes (``shelf`` and ``compaction`` rely on it), so that whoever
reads in order sees what is missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from chipwatt.collector.store.faults import is_damage


def parts_after(
    connection: sqlite3.Connection,
    columns: str,
    after: int,
    condition: str = "TRUE",
    values: tuple[int, ...] = (),
) -> Iterator[tuple[Any, ...]]:
    """Yield ``columns`` (``position`` first) of the parts after a position, in order.

    Raises sqlite3.Error, but not for damage.
    """
    select = f"SELECT {columns} FROM part WHERE position {{}} ? AND {condition}"  # noqa: S608 - our own clauses
    last = after
    try:
        for row in connection.execute(select.format(">") + " ORDER BY position", (after, *values)):
            last = row[0]
            yield row
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    else:
        return
    for position in range(last + 1, newest_position(connection) + 1):
        try:
            found = connection.execute(select.format("="), (position, *values)).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            continue
        if found is not None:
            yield found


def newest_position(connection: sqlite3.Connection) -> int:
    """Return the position that was given last; 0 where none was."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'part'").fetchone()
    return int(row[0]) if row else 0
