"""Opens one source without ever holding up the caller, and says when a call may kill the process.

A vendor library may crash or end the process that opens it. So whoever wants to
know is told before a source is opened and once it came back (``Note``): a source
that never came back is the one that did it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from chipwatt.agent.admission import admit_all
from chipwatt.agent.library_worker import LibraryWorker
from chipwatt.agent.sensing.contract import Missing, Sensor, Source, SourceUnavailable
from chipwatt.core.clock import Clock
from chipwatt.core.errors import TraceError
from chipwatt.core.model import AbsentReason, Interface

Note = Callable[[str, bool], None]
"""Takes a source's name, and whether its opening came back (False: it begins)."""

_log = logging.getLogger(__name__)


def unnoted(name: str, back: bool) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Careful:
    """How to open sources where one of them may end the process."""

    left_out: Mapping[str, str] = field(default_factory=dict)
    """Sources not to be opened, with what they did."""
    one_by_one: bool = False
    """Wait for each before the next, so that a crash names its source."""
    note: Note = unnoted


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open, and which of its sensors are used."""

    name: str
    source: Source
    sensors: tuple[Sensor, ...]
    """All that it has, in its own order."""
    kept: tuple[int, ...]
    """Positions in ``sensors`` of those in use; of those that can be used, before the choice."""
    make: Callable[[], Source]
    """Makes the source anew, for the time after it broke."""
    worker: LibraryWorker | None
    """The thread that owns it, for a source that enters a vendor library."""
    note: Note = unnoted
    """Told when the source is opened anew."""

    def missing(self) -> Sequence[Missing]:
        """Return what the source has and could not open; it takes out what it could by now."""
        return tuple(getattr(self.source, "missing", ()))

    def close(self, timeout_s: float = 1.0) -> None:
        """Give the source back; a library that hangs is left alone after ``timeout_s``."""
        if self.worker is None:
            self.source.close()
        else:
            self.worker.close(timeout_s)


@dataclass(frozen=True, slots=True)
class Absence:
    """A source that gives nothing here, or a sensor that it cannot open, and why."""

    name: str
    interface: Interface
    reason: AbsentReason
    detail: str
    """Words for the person at this host, with what to do; they are not sent."""
    make: Callable[[], Source] | None = None
    """Makes the source for another look; None where none is worth it."""


class Attempt:
    """One source on its way to being open, made and opened under ``note``."""

    def __init__(
        self, name: str, make: Callable[[], Source], clock: Clock, note: Note = unnoted
    ) -> None:
        """Begin: a library opens in its own thread from now on. Raises what ``make`` raises."""
        self.source = make()
        self.worker: LibraryWorker | None = None
        self._name = name
        self._note = note
        if self.source.library:
            note(name, False)
            self.worker = LibraryWorker(self.source, clock)

    def sensors(self, timeout_s: float) -> Sequence[Sensor] | None:
        """Return what it has, None while the library has not answered. Raises what open raised."""
        if self.worker is None:
            return self.source.open()
        try:
            sensors = self.worker.opened(timeout_s)
        except Exception:
            self._note(self._name, True)
            raise
        if sensors is not None:
            self._note(self._name, True)
        return sensors

    def close(self) -> None:
        """Give the source back, open or not, without waiting for its library."""
        if self.worker is not None:
            self.worker.close(0.0)
            return
        with contextlib.suppress(Exception):  # whatever it did, it is given up
            self.source.close()


class Opening:
    """A source of the inventory on its way to being open, or to an absence."""

    def __init__(
        self, name: str, make: Callable[[], Source], clock: Clock, note: Note = unnoted
    ) -> None:
        self._name = name
        self._make = make
        self._note = note
        self._attempt: Attempt | None = None
        self._error: Exception | None = None
        try:
            self._attempt = Attempt(name, make, clock, note)
        except Exception as error:  # noqa: BLE001 - a source may come from anywhere; it alone is out
            self._error = error

    def result(self, timeout_s: float) -> Opened | Absence:
        """Return what became of it; raises TraceError alone."""
        attempt = self._attempt
        if attempt is None:
            return self._failed(self._error)
        try:
            sensors = attempt.sensors(timeout_s)
            admitted, usable = admit_all(self._name, sensors or ())
        except TraceError:
            raise  # a person asked for this very trace
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(error)
        if sensors is None:
            self._note(self._name, True)  # it hangs, which kills nobody
            detail = f"the library did not answer within {timeout_s:.0f} s: is its driver well?"
            return self._absent(AbsentReason.LIBRARY_FAILED, detail)
        if not sensors:
            return self._absent(AbsentReason.NOT_PRESENT, "no sensor was found")
        if not usable:
            detail = "none of its sensors names a device that can be: see the log"
            return self._absent(AbsentReason.LIBRARY_FAILED, detail)
        return Opened(
            self._name,
            attempt.source,
            admitted,
            usable,
            self._make,
            attempt.worker,
            self._note,
        )

    def _failed(self, error: Exception | None) -> Absence:
        if isinstance(error, SourceUnavailable):
            return self._absent(error.reason, error.detail)
        detail = f"the source failed: {type(error).__name__}: {error}"
        return self._absent(AbsentReason.LIBRARY_FAILED, detail)

    def _absent(self, reason: AbsentReason, detail: str) -> Absence:
        if self._attempt is not None:
            self._attempt.close()
        return Absence(self._name, interface_of(self._make), reason, detail, self._make)


def interface_of(make: Callable[[], Source]) -> Interface:
    """Return a source's interface without making one."""
    target = make.func if isinstance(make, partial) else make
    interface = getattr(target, "interface", Interface.EXTERNAL)
    return interface if isinstance(interface, Interface) else Interface.EXTERNAL
