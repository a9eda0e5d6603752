"""Child processes of the command line: started apart from the terminal, always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chipwatt.core.errors import ChipwattError

_POLL_S = 0.05


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


class ChildFailed(ChipwattError):
    """A child process ended although it was still needed."""


class Child:
    """One running module; its output goes to a log file.

    Ctrl-C in the terminal does not reach it: the parent decides in which order
    things end. Where the parent is killed, the child notices and ends itself (see
    ``chipwatt.cli.child``).
    """

    def __init__(
        self, name: str, module: str, args: Sequence[str], log: Path, scratch: Path | None
    ) -> None:
        self.name = name
        self.log = log
        command = [sys.executable, "-m", "chipwatt.cli.child"]
        command += [str(scratch) if scratch else "-", module, *args]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                command,
                stdin=subprocess.PIPE,  # never written: its end is our end
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise ChildFailed where the child has ended."""
        code = self.exit_code
        if code is not None and code < 0:
            raise ChildFailed(f"the {self.name} was killed ({_signal_name(-code)}).")
        if code is not None:
            raise ChildFailed(f"the {self.name} ended with code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line that it wrote."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        return lines[-1].removeprefix(f"chipwatt {self.name}: ") if lines else "it said nothing."

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``ready()``; raises ChildFailed where it ends or takes longer."""
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline_s:
                raise ChildFailed(
                    f"the {self.name} was not ready after {timeout_s:g} s: {self.last_words()}"
                )
            time.sleep(_POLL_S)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its own end; None where it has not come after ``timeout_s``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._ended(timeout_s)
        return None

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end, insist after ``timeout_s``, and return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._ended(timeout_s)
        except subprocess.TimeoutExpired:
            # Its session, so that what it started goes with it.
            os.killpg(self.pid, signal.SIGKILL)
            return self._ended(None)

    def _ended(self, timeout_s: float | None) -> int:
        code = self._process.wait(timeout_s)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code
