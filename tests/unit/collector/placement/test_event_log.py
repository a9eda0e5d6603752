from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.event_log import EventLog
from chipwatt.v1 import placement_pb2 as pb


def events(count: int) -> list[pb.PowerEvent]:
    return [pb.PowerEvent(node_id=f"n{i}") for i in range(count)]


def test_a_token_goes_on_after_its_event() -> None:
    log = EventLog()
    log.append(events(5))
    seq, missed = log.resume(log.token(3))
    found, lost = log.after(seq)
    assert ([event.seq for event in found], missed, lost) == ([4, 5], False, False)
    assert log.after(5) == ([], False)
    assert log.newest == 5


@settings(deadline=None)
@given(
    batches=st.lists(st.integers(0, 7), max_size=8), kept=st.integers(1, 9), limit=st.integers(1, 5)
)
def test_a_reader_sees_every_event_in_order_or_is_told(
    batches: list[int], kept: int, limit: int
) -> None:
    log, seen, seq = EventLog(kept), 0, 0
    for number, count in enumerate(batches):
        log.append(events(count))
        if number % 2:
            continue
        while True:
            found, lost = log.after(seq, limit)
            if not found:
                break
            assert lost == (found[0].seq != seq + 1)
            assert [event.seq for event in found] == list(
                range(found[0].seq, found[0].seq + len(found))
            )
            seq, seen = found[-1].seq, seen + len(found)
        assert seq == log.newest


def test_a_token_of_another_run_starts_over() -> None:
    log, other = EventLog(), EventLog()
    log.append(events(2))
    assert log.resume(other.token(0)) == (0, True)
    assert [event.seq for event in log.after(0)[0]] == [1, 2]


@pytest.mark.parametrize(
    "token", ["nonsense", "0123456789abcdef", "0123456789abcdef-", "-1", "0123456789ABCDEF-1"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a token"):
        EventLog().resume(token)


def test_a_token_from_the_future_is_refused() -> None:
    log = EventLog()
    with pytest.raises(ValueError, match="not happened"):
        log.resume(log.token(1))


def test_listeners_are_woken_until_they_stop() -> None:
    log, calls = EventLog(), []
    stop = log.listen(lambda: calls.append(1))
    log.append(events(1))
    log.append([])
    assert len(calls) == 1
    assert log.listening == 1
    stop()
    log.append(events(1))
    assert len(calls) == 1
    log.listen(lambda: calls.append(2))
    log.close()
    assert calls == [1, 2]
    assert log.closed
