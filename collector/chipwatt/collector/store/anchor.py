"""Whether the store still lies where its path says, while it is open.

A file that was deleted, replaced or unmounted can be written to for as long as it is
open, and each write succeeds: what is committed there is gone with the process. So
the database and its log are compared with what their paths lead to before a
transaction is committed, and once more before anybody is told that it was: four
``stat`` calls, some microseconds.
"""

from __future__ import annotations

from pathlib import Path

from chipwatt.core.errors import StoreError


class Anchor:
    """The files that must stay, as they were when the store was opened."""

    def __init__(self, database: Path) -> None:
        self._paths = (database, database.with_name(database.name + "-wal"))
        self._were = [_identity(path) for path in self._paths]
        self._adrift = ""

    def check(self) -> None:
        """Raise StoreError where a file is not the one that is open; it may come back."""
        if self._adrift:
            raise StoreError(self._adrift)
        for path, was in zip(self._paths, self._were, strict=True):
            if _identity(path) != was:
                raise StoreError(
                    f"{path}: was deleted, replaced or unmounted while the collector had it open: "
                    "put it back, or restart the collector; agents keep what is not stored"
                )

    def check_committed(self) -> None:
        """As ``check``, after a commit: what went astray must not be written a second time.

        Until the restart nothing is taken any more, for nobody knows which of the
        files has this commit.
        """
        try:
            self.check()
        except StoreError as error:
            self._adrift = str(error)
            raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
