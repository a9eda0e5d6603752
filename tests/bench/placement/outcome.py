"""What an experiment ends in: which bounds are broken, and the figures they are about."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """Filled while an experiment runs."""

    broken: list[str] = field(default_factory=list)
    figures: dict[str, float | list[float]] = field(default_factory=dict)
    """For programs; the tables are for people."""

    def bound(self, holds: bool, complaint: str) -> None:
        """Enter a bound that has to hold."""
        if not holds:
            self.broken.append(complaint)
