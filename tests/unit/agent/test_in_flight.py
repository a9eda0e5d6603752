from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.in_flight import InFlight
from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.record import Position

Key = tuple[int, int]


def record(index: int, epoch: int, sequence: int) -> Spooled:
    return Spooled(bytes(16), epoch, sequence, b"", Position(1, index))


@dataclass
class Line:
    """Records in the spool's order; ``border`` is where the newest begin."""

    keys: list[Key]
    border: int
    flight: InFlight = field(default_factory=InFlight)
    arrived: list[int] = field(default_factory=list)
    """Indices, in the order in which the collector got them."""
    answered: set[int] = field(default_factory=set)
    backlog_next: int = 0
    newest_next: int = 0
    cursor: int = -1

    def send(self, *, newest: bool) -> None:
        end = len(self.keys) if newest else self.border
        index = self.newest_next if newest else self.backlog_next
        if index < end:
            self.flight.send(record(index, *self.keys[index]), newest=newest)
            self.arrived.append(index)
            if newest:
                self.newest_next += 1
            else:
                self.backlog_next += 1
        self.flight.is_backlog_sent = self.backlog_next == self.border

    def answer(self, *, stored: bool) -> None:
        """Answer the oldest open batch, as the collector does: in the order of arrival."""
        still_open = [index for index in self.arrived if index not in self.answered]
        if not still_open:
            return
        key = self.keys[still_open[0]]
        assert (self.flight.acked(*key) if stored else self.flight.refused(*key)) == 1
        self.answered.add(still_open[0])

    def check(self) -> None:
        assert len(self.flight) == len(set(self.arrived) - self.answered)
        # Some record that is not answered, or that was never sent, stops the cursor.
        stop = next((n for n in range(len(self.keys)) if n not in self.answered), len(self.keys))
        if not self.flight.is_backlog_sent:
            stop = min(stop, self.border)
        moved = self.flight.take_settled()
        if stop - 1 > self.cursor:
            assert moved == Position(1, stop - 1)
            self.cursor = stop - 1
        else:
            assert moved is None


@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 12),
    st.lists(st.sampled_from(["old", "new", "ack", "refuse"]), max_size=60),
)
def test_the_cursor_passes_all_that_is_answered_and_nothing_else(
    first: int, second: int, border: int, events: list[str]
) -> None:
    keys = [(1, n + 1) for n in range(first)] + [(2, n + 1) for n in range(second)]
    border = min(border, len(keys))
    line = Line(keys, border, newest_next=border)
    for event in [*events, *["old", "new", "ack"] * len(keys)]:
        if event in ("old", "new"):
            line.send(newest=event == "new")
        else:
            line.answer(stored=event == "ack")
        line.check()
    assert line.cursor == len(keys) - 1


@given(st.integers(1, 20), st.data())
def test_one_ack_stands_for_all_that_were_sent_before(count: int, data: st.DataObject) -> None:
    flight = InFlight()
    for index in range(count):
        flight.send(record(index, 1, index + 1))
    flight.is_backlog_sent = True
    acked = data.draw(st.integers(1, count))
    assert flight.acked(1, acked) == acked
    assert flight.acked(1, acked) == 0
    assert flight.take_settled() == Position(1, acked - 1)
    assert len(flight) == count - acked


def test_an_ack_of_the_newest_says_nothing_of_older_records_sent_after_it() -> None:
    """Else a record would be settled that the collector has not got yet."""
    flight = InFlight()
    flight.send(record(9, 1, 10))
    flight.send(record(0, 1, 1), newest=False)
    flight.is_backlog_sent = True
    assert flight.acked(1, 10) == 1
    assert flight.take_settled() is None
    assert flight.acked(1, 10) == 0, "said again, with a pause"
    assert flight.acked(1, 1) == 1
    assert flight.take_settled() == Position(1, 9)


def test_an_ack_for_what_was_never_sent_settles_nothing() -> None:
    flight = InFlight()
    flight.is_backlog_sent = True
    flight.send(record(0, 7, 3))
    assert flight.acked(8, 100) == 0
    assert flight.acked(7, 2) == 0
    assert flight.take_settled() is None
    assert flight.acked(7, 3) == 1
