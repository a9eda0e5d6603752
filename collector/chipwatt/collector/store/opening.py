"""What is looked at when a store is opened: whether its catalogue is whole and all of it there."""

from __future__ import annotations

import sqlite3
import time

from chipwatt.collector.store.block_file import open_blocks
from chipwatt.collector.store.catalogue import Catalogue, number, set_number
from chipwatt.collector.store.damage import Damage, Loss
from chipwatt.collector.store.faults import is_damage
from chipwatt.collector.store.shelf import Shelf
from chipwatt.collector.store.tally import Tally
from chipwatt.core.errors import StoreError

CHECK_S = 2.0
"""How long an opening may look through the catalogue."""
_RENEWED = ("ledger", "line", "merged", "status", "fingerprint", "quarantine")
"""Tables that a store can go on without."""
_STEPS = 100_000
"""Instructions of SQLite between two looks at the time."""


class _Everything:
    """Every generation, finished or not."""

    def __contains__(self, generation: object) -> bool:
        return True


def check_catalogue(catalogue: Catalogue, damage: Damage, budget_s: float = CHECK_S) -> bool:
    """Look through the catalogue, and repair what can be; return whether it is whole.

    Indexes are rebuilt. A table that only saves work, or says what hosts will say
    again, begins anew where it cannot be read. Of the others what can be read is
    read. Raises StoreError.
    """
    wrong = _wrong(catalogue, budget_s)
    if not wrong:
        return True
    for table in _RENEWED:
        if not _is_readable(catalogue, table):
            catalogue.renew(table)
            damage.forgotten(f"catalogue table {table}", "it begins anew")
    try:
        with catalogue.writing("rebuild indexes") as connection:
            connection.execute("REINDEX")
    except StoreError:
        damage.forgotten("catalogue", wrong)
        return False
    left = _wrong(catalogue, budget_s)
    if left:
        damage.forgotten("catalogue", left)
    else:
        damage.repaired("catalogue", wrong)
    return not left


def _is_readable(catalogue: Catalogue, table: str) -> bool:
    try:
        with catalogue.reading() as connection:
            for _ in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
                pass
    except StoreError:
        return False
    return True


def _wrong(catalogue: Catalogue, budget_s: float) -> str:
    """Return what SQLite finds wrong in the time it has; empty where that is nothing."""
    until_s = time.monotonic() + budget_s
    with catalogue.reading() as connection:
        connection.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS)
        try:
            found = connection.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                return ""
            if is_damage(error):
                return str(error)
            raise
        finally:
            connection.set_progress_handler(None, 0)
    return "; ".join(row[0] for row in found if row[0] != "ok")


def tell_vanished(catalogue: Catalogue, tally: Tally, shelf: Shelf, damage: Damage) -> None:
    """Find commits that were acked and are not there: the end of the log is damaged.

    The catalogue is then as it was before them, and so are the numbers that it gives:
    blocks that were written since are barred for ever, lest their generations
    come to count. Raises StoreError.
    """
    with catalogue.reading() as connection:
        row = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'receipt'"
        ).fetchone()
        last = int(row[0]) if row else 0
        files = shelf.files(connection)
    vanished = tally.after(last)
    if not vanished:
        return
    newest = vanished[-1]
    loss = Loss(
        f"commits {last + 1} to {newest.number}",
        min(commit.start_min for commit in vanished),
        max(commit.start_max for commit in vanished),
    )
    generations: set[int] = set()
    for shelved in files:
        if shelved.path.exists():
            try:
                with open_blocks(shelved.path, _Everything()) as blocks:
                    generations |= blocks.generations()
            except StoreError as error:
                damage.lose(shelved.lost(), str(error), suspect=shelved.path)
    damage.lose(loss, f"{newest.number - last} commits are gone from the end of the log")
    with catalogue.writing("bar what was not committed") as connection:
        first = number(connection, "next_generation")
        barred = sorted(generation for generation in generations if generation >= first)
        connection.executemany(
            "INSERT OR IGNORE INTO unfinished VALUES (?)", [(one,) for one in barred]
        )
        if barred:
            set_number(connection, "next_generation", barred[-1] + 1)
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'receipt'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('receipt', ?)", (newest.number,))
    damage.save()
