"""What is kept and said of a reading that was thrown away, and that it stays on this host."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.ledger import Rejected
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.rejections import EVERY_NS, RejectionLog
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core import codec
from fakes.books import sensor

MS = 1_000_000
S = 1_000 * MS
COUNTER = sensor(0, max_power_mw=400_000)
GAUGE = sensor(1, Quantity.POWER_MW, max_power_mw=400_000)
SPIKE = 123_456_789_012_345


def reading(sensors: int = 2) -> Reducer:
    """Return a reducer that has had one good second of both sensors."""
    reducer = Reducer([COUNTER, GAUGE][:sensors], mono_ns=0, unix_ns=1_700_000_000 * S)
    for position in range(sensors):
        reducer.measured(
            position, refresh_ns=MS, averaging_ns=0, period_ns=10 * MS, rate_reduced=False
        )
    go_on(reducer, 0, S, sensors)
    return reducer


def go_on(reducer: Reducer, from_ns: int, until_ns: int, sensors: int = 2) -> None:
    for now_ns in range(from_ns, until_ns, 10 * MS):
        for position in range(sensors):
            reducer.observe(position, now_ns, 10**6 + now_ns // 10_000 if not position else 100_000)


def test_a_gauge_keeps_the_newest_value_it_dropped() -> None:
    reducer = reading()
    ledger = reducer.ledgers()[1]
    assert ledger.rejected is None
    reducer.observe(1, S, 400_001)
    reducer.observe(1, S + 10 * MS, -3)
    assert ledger.dropped == 2
    assert ledger.rejected == Rejected(S + 10 * MS, -3, 0, 400_000)


def test_a_counter_keeps_a_spike_with_what_would_have_been_possible() -> None:
    reducer = reading()
    reducer.observe(0, S, SPIKE)
    rejected = reducer.ledgers()[0].rejected
    assert rejected is not None
    assert (rejected.mono_ns, rejected.raw) == (S, SPIKE)
    before_uj = 10**6 + 990 * MS // 10_000
    assert rejected.least == before_uj
    assert before_uj + 4_000_000 <= rejected.most <= before_uj + 40_000_000, "400 W, 10 to 100 ms"


def test_a_counter_keeps_a_sentinel_and_a_value_that_fell_only_once() -> None:
    reducer = reading()
    ledger = reducer.ledgers()[0]
    reducer.observe(0, S, 2**64 - 1)
    assert ledger.rejected is not None
    assert ledger.rejected.raw == 2**64 - 1
    reducer.observe(0, S + 10 * MS, 5)
    go_on(reducer, S + 20 * MS, S + 40 * MS)
    assert ledger.dropped == 2
    assert (ledger.rejected.raw, ledger.rejected.mono_ns) == (5, S + 10 * MS)


@given(st.lists(st.integers(-(2**64), 2**64), max_size=30), st.booleans())
def test_whatever_is_counted_as_dropped_is_kept(values: list[int], gauge: bool) -> None:
    reducer = reading()
    ledger = reducer.ledgers()[gauge]
    for number, value in enumerate(values):
        before = ledger.dropped
        reducer.observe(int(gauge), S + number * 10 * MS, value)
        if ledger.dropped > before:
            assert ledger.rejected is not None
            assert ledger.rejected.raw in values
            assert not (ledger.rejected.least <= ledger.rejected.raw <= ledger.rejected.most)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_log_says_sensor_value_limit_and_count(caplog: pytest.LogCaptureFixture) -> None:
    reducer = reading()
    log = RejectionLog([COUNTER, GAUGE], reducer.ledgers())
    log.look(S)
    assert lines(caplog) == []
    for number in range(3):
        reducer.observe(1, S + number * MS, 4_294_967_295)
    log.look(S + S // 2)
    assert lines(caplog) == [], "it has looked within this second"
    log.look(2 * S)
    (line,) = lines(caplog)
    assert line == (
        "cpu/1 package instant: 3 dropped since the last line, "
        "the newest 4294967295 mW, possible were 0 to 400000"
    )
    assert caplog.records[0].levelno == logging.WARNING


def test_a_sensor_that_is_broken_for_good_says_so_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reducer = reading()
    log = RejectionLog([COUNTER, GAUGE], reducer.ledgers())
    for now_ns in range(S, 3 * EVERY_NS + 2 * S, S // 10):
        reducer.observe(1, now_ns, 2**40)
        log.look(now_ns)
    assert len(lines(caplog)) == 4
    assert "600 dropped since the last line" in lines(caplog)[2]
    reducer.observe(0, 3 * EVERY_NS + 2 * S, SPIKE)
    log.finish()
    assert len(lines(caplog)) == 6, (
        "each sensor has a minute of its own, and the end tells the rest"
    )
    log.finish()
    assert len(lines(caplog)) == 6


def test_a_rejected_value_never_enters_a_payload() -> None:
    """Nor any multiple or part of it: the same line without the spikes gives the same bytes."""
    payloads = []
    for raws in ((), (SPIKE, 2**64 - 1)):
        reducer = reading()
        for raw in raws:
            for position in (0, 1):
                reducer.observe(position, S - MS, raw)
        go_on(reducer, S, 12 * S)
        records = reducer.finish(12 * S)
        dropped = sum(w.provenance.dropped for batch in records for w in batch.windows)
        assert dropped == 2 * len(raws)
        payloads.append(b"".join(codec.encode_records(batch) for batch in records))
    assert len(payloads[0]) == len(payloads[1])
    assert sum(a != b for a, b in zip(*payloads, strict=True)) == 2, "the two counts, no more"
    for size in (8, 4):
        assert (SPIKE % 2 ** (8 * size)).to_bytes(size, "little") not in payloads[1]
