"""Where ``up`` draws: live tables with rich, a line a second without, nothing for programs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chipwatt.cli import live
from chipwatt.cli.extras import optional
from chipwatt.cli.quantities import duration_text
from chipwatt.cli.tables import rich_table

if TYPE_CHECKING:
    import rich.console


class Screen:
    """Shows nothing; what a program that reads JSON wants."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, seen: live.Seen, elapsed_ns: int) -> None:
        """Show the state after ``elapsed_ns``."""


class LineScreen(Screen):
    """One line a second: logs, pipes, terminals without rich."""

    def __init__(self, address: str, tls: Path) -> None:
        print(
            f"chipwatt up: the collector answers at {address}; --tls {tls}; Ctrl-C ends it.",
            flush=True,
        )

    def show(self, seen: live.Seen, elapsed_ns: int) -> None:
        """Print the newest second."""
        print(live.plain_line(seen, elapsed_ns), flush=True)


class TableScreen(Screen):
    """Two tables that move; they are gone when it closes, for the summary follows."""

    def __init__(
        self, address: str, tls: Path, console: rich.console.Console | None = None
    ) -> None:
        """Draw on ``console``, by default on standard output; rich must be installed."""
        import rich.live

        self._where = f"{address} --tls {tls}"
        self._live = rich.live.Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, seen: live.Seen, elapsed_ns: int) -> None:
        """Draw the tables again."""
        self._live.update(self.content(seen, elapsed_ns), refresh=True)

    def content(self, seen: live.Seen, elapsed_ns: int) -> rich.console.Group:
        """Return everything that is shown after ``elapsed_ns``."""
        import rich.console
        import rich.text

        head = rich.text.Text.assemble(
            ("chipwatt up", "bold"),
            f"  {duration_text(elapsed_ns)}  --collector {self._where}  Ctrl-C ends it",
        )
        if not seen.seconds and not seen.tallies:
            return rich.console.Group(
                head, rich.text.Text("waiting for the first second of data ...")
            )
        parts: list[Any] = [head]
        if seen.estimated:
            parts.append(rich.text.Text(live.ESTIMATED, "bold black on yellow"))
        parts.append(rich_table(live.host_table(seen)))
        width = self._live.console.width
        parts.append(rich_table(live.device_table(seen, width)))
        return rich.console.Group(*parts)


def open_screen(address: str, tls: Path, *, quiet: bool) -> Screen:
    """Return the screen that fits where standard output goes."""
    if quiet:
        return Screen()
    if sys.stdout.isatty() and optional("rich"):
        return TableScreen(address, tls)
    return LineScreen(address, tls)
