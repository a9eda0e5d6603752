"""Which source ends the sensing process while it is opened, and is left out for that.

A vendor library that crashes takes the whole process with it. So the process says
which sources it is opening; when it dies, those are suspects. The next start opens
one after the other, and a source that is being opened at a second death is left out.
"""

from __future__ import annotations

import signal
from collections import Counter

from chipwatt.agent import sensing_link as link

_DEATHS = 2


class Suspects:
    """What the agent remembers of the lives of its sensing process."""

    def __init__(self) -> None:
        self._opening: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._found: set[str] = set()
        self.left_out: dict[str, str] = {}
        """Sources that are not opened at a start, and a sentence on each."""

    @property
    def opening(self) -> tuple[str, ...]:
        """Sources whose opening has not come back."""
        return tuple(sorted(self._opening))

    def careful_start(self, start: link.Start) -> link.Start:
        """Return ``start`` with what was learnt; a new life begins."""
        self._opening.clear()
        return link.Start(
            start.sensing,
            start.sources,
            start.memory,
            left_out=dict(self.left_out),
            wary=tuple(sorted({*self.left_out, *self._found})),
            one_by_one=bool(self._deaths),
            state_dir=start.state_dir,
        )

    def heard(self, message: link.Opening) -> None:
        """Take in that an opening begins or came back: what comes back kills nobody."""
        if not message.back:
            self._opening.add(message.name)
            return
        self._opening.discard(message.name)
        self._deaths.pop(message.name, None)
        self.left_out.pop(message.name, None)

    def ended_anew(self, found: tuple[str, ...]) -> None:
        """Note on whose account the process starts anew: not again at once for the same."""
        self._found.update(found)

    def lived_long(self) -> None:
        """Forget what was found: it was there."""
        self._found.clear()

    def died(self, code: int) -> list[str]:
        """Note a death with exit ``code``; return the sources that are left out from now on."""
        self._deaths.update(self._opening)
        if len(self._opening) != 1:
            return []
        (name,) = self._opening
        if self._deaths[name] < _DEATHS:
            return []
        self.left_out[name] = (
            f"left out: the process that opens the sources ended ({_how(code)}) "
            f"{self._deaths[name]} times while it opened this one: repair its library or driver; "
            "it is tried again in an hour, and when the agent starts"
        )
        return [name]


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
