from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.in_flight import InFlight
from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.record import Position


def record(index: int, epoch: int, sequence: int) -> Spooled:
    return Spooled(bytes(16), epoch, sequence, b"", Position(1, index))


answers = st.lists(
    st.tuples(st.sampled_from(["ack", "refuse"]), st.integers(1, 2), st.integers(0, 9)),
    max_size=20,
)


@given(st.integers(0, 8), st.integers(0, 8), answers)
def test_the_cursor_never_passes_an_unanswered_record(
    first: int, second: int, answers: list[tuple[str, int, int]]
) -> None:
    sent = [(1, n + 1) for n in range(first)] + [(2, n + 1) for n in range(second)]
    flight = InFlight()
    for index, (epoch, sequence) in enumerate(sent):
        flight.send(record(index, epoch, sequence))
    answered: set[tuple[int, int]] = set()
    cursor = -1
    for kind, epoch, sequence in answers:
        if kind == "ack":
            now = {key for key in sent if key[0] == epoch and key[1] <= sequence} - answered
            assert flight.acked(epoch, sequence) == len(now)
        else:
            now = {(epoch, sequence)} & set(sent) - answered
            assert flight.refused(epoch, sequence) == len(now)
        answered |= now
        assert len(flight) == len(sent) - len(answered)
        moved = flight.take_settled()
        expected = next((i for i, key in enumerate(sent) if key not in answered), len(sent)) - 1
        if expected > cursor:
            assert moved == Position(1, expected)
            cursor = expected
        else:
            assert moved is None


def test_an_ack_for_what_was_never_sent_settles_nothing() -> None:
    flight = InFlight()
    flight.send(record(0, 7, 3))
    assert flight.acked(8, 100) == 0
    assert flight.acked(7, 2) == 0
    assert flight.take_settled() is None
    assert flight.acked(7, 100) == 1
