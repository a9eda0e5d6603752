"""Looks again for what was absent at the start: modules load late, and GPUs come back.

The sensing process reads a fixed set of sensors. Once a look finds more of them,
it hands out what it has and starts anew, which finds them by the usual way.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from chipwatt.agent.admission import admit_all
from chipwatt.agent.inventory import REPLAY, Inventory
from chipwatt.agent.opening import Absence, Attempt, Note, Opened, unnoted
from chipwatt.core.clock import NS_PER_S, Clock
from chipwatt.core.model import AbsentReason

FIRST_NS: Final = 5 * NS_PER_S
WARY_NS: Final = 3600 * NS_PER_S
"""Before the first look at a source that ended the process, or was found in vain."""
_CHOSEN = (AbsentReason.DISABLED, AbsentReason.NOT_NEEDED)

_log = logging.getLogger(__name__)


class _Look:
    """The looks at one absent source."""

    def __init__(self, absence: Absence, first_ns: int, pause_ns: int) -> None:
        self.absence = absence
        self.next_ns = first_ns
        self.pause_ns = pause_ns
        self.attempt: Attempt | None = None


class Search:
    """Looks for absent sources and sensors, one source a turn."""

    def __init__(
        self,
        inventory: Inventory,
        clock: Clock,
        *,
        longest_ns: int,
        wary: Collection[str] = (),
        note: Note = unnoted,
    ) -> None:
        """Look soon, then at pauses that double up to ``longest_ns``; later for those in ``wary``.

        ``note`` is told before a library is opened and once it came back.
        """
        self._inventory = inventory
        self._clock = clock
        self._longest_ns = longest_ns
        self._note = note
        now_ns = clock.mono_ns()
        first_ns = min(FIRST_NS, longest_ns)
        replaying = any(each.name == REPLAY for each in inventory.opened)
        self._looks = [
            _Look(
                absence,
                now_ns + (WARY_NS if absence.name in wary else first_ns),
                WARY_NS if absence.name in wary else first_ns,
            )
            for absence in inventory.absent
            if absence.make and absence.reason not in _CHOSEN and absence.name != REPLAY
            if not replaying
        ]
        self._partly = [
            (each, len(each.missing()))
            for each in inventory.opened
            if each.missing() and each.name not in wary
        ]
        self.found: list[str] = []
        """Sources that have more to give than is read."""

    def look(self, now_ns: int) -> bool:
        """Take a step; True once something was found. A library's answer is never waited for."""
        for each, missing in self._partly:
            if len(each.missing()) < missing and each.name not in self.found:
                _log.info("%s: a sensor that was missing is there now", each.name)
                self.found.append(each.name)
        due = next((look for look in self._looks if look.next_ns <= now_ns), None)
        if due is not None and self._has_appeared(due, now_ns):
            self.found.append(due.absence.name)
        return bool(self.found)

    def _has_appeared(self, look: _Look, now_ns: int) -> bool:
        name, make = look.absence.name, look.absence.make
        look.next_ns = now_ns + NS_PER_S  # while the library has not answered
        try:
            if look.attempt is None and make is not None:
                look.attempt = Attempt(name, make, self._clock, self._note)
            attempt = look.attempt
            sensors = attempt.sensors(0.0) if attempt is not None else ()
        except Exception:  # noqa: BLE001 - still absent; why was told at the start
            sensors = ()
        if sensors is None:
            return False
        used = False
        attempt, look.attempt = look.attempt, None
        if attempt is not None:
            if sensors and make is not None:
                admitted, usable = admit_all(name, sensors)
                opened = Opened(name, attempt.source, admitted, usable, make, attempt.worker)
                used = bool(usable) and self._inventory.would_use(opened)
            attempt.close()
        if used:
            _log.info("%s: absent at the start, there now", name)
        if sensors:
            self._looks.remove(look)
        look.pause_ns = min(2 * look.pause_ns, max(self._longest_ns, look.pause_ns))
        look.next_ns = now_ns + look.pause_ns
        return used
