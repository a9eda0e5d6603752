"""Who answers the rpcs of placement from one source of outlooks."""

from __future__ import annotations

from dataclasses import dataclass

from chipwatt.collector.placement.event_answers import EventAnswers
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.power_answers import PowerAnswers
from chipwatt.collector.placement.rank_answers import RankAnswers
from chipwatt.collector.placement.reservation_answers import ReservationAnswers


@dataclass(frozen=True, slots=True)
class Desk:
    """One answerer a subject, all of whom look through the same eyes."""

    power: PowerAnswers
    ranks: RankAnswers
    reservations: ReservationAnswers
    events: EventAnswers

    def tick(self, outlook: Outlook) -> None:
        """Tell events, and prepare for the usual questions; once a second."""
        self.events.tick(outlook)
        self.ranks.tick(outlook)
