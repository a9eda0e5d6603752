"""Which address of the collector to go to next, and which one to go back to.

All addresses lead to *one* collector, that is to one store: a standby that takes the
store over, a second network, a proxy. An ack from any of them settles a record for
all, since it says that the record is in that store; one that was sent over two
addresses is recognised there by its key. Collectors with stores of their own
(shards, replicas) are no endpoints of each other: each of them would have
part of a host's energy, and none the whole.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration

RETURN_AFTER = Duration(300 * NS_PER_S)


@dataclass(frozen=True, slots=True)
class FailoverConfig:
    """``[failover]``."""

    endpoints: tuple[str, ...] = ()
    """More addresses of the same collector, for when it cannot be reached at `collector`: a
    standby that takes its store over, another network. Never those of a collector with a store of
    its own: what one store has is not sent to another."""
    shuffled: bool = False
    """Each host has an order of its own, the same at each start, and so its own first choice."""
    return_after: Duration = RETURN_AFTER
    """How long to stay with another address, at least, before the first choice is looked at."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError with the setting's name."""
        if self.return_after <= 0:
            raise ValueError("return_after is more than 0")
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError("endpoints holds an address twice")

    def order(self, collector: str, host_id: bytes) -> list[str]:
        """Return every address, the first choice first."""
        addresses = [collector, *(one for one in self.endpoints if one != collector)]
        if self.shuffled:
            random.Random(host_id).shuffle(addresses)  # noqa: S311 - to spread load, not to hide
        return addresses


class Endpoints:
    """Pure state: rounds through all addresses, each beginning with the first choice."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Start with the first of ``addresses``, of which there is at least one."""
        self._addresses = tuple(addresses)
        self._left: list[str] = []
        self.current = ""
        """Where to connect."""
        self.go_back()

    @property
    def first_choice(self) -> str:
        return self._addresses[0]

    def welcomed(self) -> None:
        """Stay with the current address; should it fail, all the others are tried next."""
        self._left = [one for one in self._addresses if one != self.current]

    def failed(self) -> bool:
        """Move on to the next address; True where every one has failed by now."""
        if not self._left:
            self.go_back()
            return True
        self.current = self._left.pop(0)
        return False

    def go_back(self) -> None:
        """Begin a new round at the first choice."""
        self._left = list(self._addresses)
        self.current = self._left.pop(0)
