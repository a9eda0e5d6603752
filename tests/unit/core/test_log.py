from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core import log
from chipwatt.core.log import LineFormatter, LogConfig, RateLimit


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(config: LogConfig | None = None) -> io.StringIO:
    stream = io.StringIO()
    log.setup(config or LogConfig(), stream)
    return stream


def test_a_record_is_one_logfmt_line() -> None:
    stream = written()
    log.get("chipwatt.agent.uplink").warning(
        "not delivering", reason='no "collector"\nanswers', retry_s=3, fatal=False, nothing=""
    )
    (line,) = stream.getvalue().splitlines()
    stamp, rest = line.split(" ", 1)
    assert stamp.startswith("time=20")
    assert stamp.endswith("Z")
    assert rest == (
        'level=warning logger=chipwatt.agent.uplink event="not delivering" '
        r'reason="no \"collector\"\nanswers" retry_s=3 fatal=false nothing=""'
    )


def test_json_holds_the_same() -> None:
    stream = written(LogConfig(format="json"))
    log.get("x").info("started", port=9733)
    parsed = json.loads(stream.getvalue())
    assert parsed["event"] == "started"
    assert parsed["port"] == 9733
    assert parsed["level"] == "info"


@given(st.text(), st.dictionaries(st.text("abcdefgh", min_size=1), st.text()))
def test_whatever_is_logged_is_one_line_of_ascii(event: str, fields: dict[str, str]) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (event,), "chipwatt_fields": fields})
    for formatter in (LineFormatter(), LineFormatter(as_json=True)):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert line.isascii()
    parsed = json.loads(LineFormatter(as_json=True).format(record))
    assert parsed["event"] == event
    assert {key: parsed[key] for key in fields} == fields


def test_a_field_cannot_replace_what_every_line_has() -> None:
    stream = written(LogConfig(format="json"))
    log.get("x").info("event", level="mine", time="never")
    parsed = json.loads(stream.getvalue())
    assert parsed["level"] == "info"
    assert parsed["field_level"] == "mine"
    assert parsed["field_time"] == "never"


def test_an_exception_stays_on_its_line() -> None:
    stream = written()
    try:
        int("two\nlines")
    except ValueError as error:
        log.get("x").exception("stage failed", error)
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in line


def test_levels_below_the_least_are_not_written() -> None:
    stream = written(LogConfig(level="error"))
    log.get("x").warning("quiet")
    log.get("x").error("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_records_of_other_libraries_take_the_same_way() -> None:
    stream = written()
    logging.getLogger("grpc").error("broken %s", "pipe")
    assert 'logger=grpc event="broken pipe"' in stream.getvalue()


def record(event: str, name: str = "chipwatt.x") -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": name, "msg": "%s", "args": (event,), "chipwatt_fields": {}}
    )


def test_a_flood_is_held_and_counted() -> None:
    now_ns = 0
    limit = RateLimit(burst=2, interval_ns=10, mono_ns=lambda: now_ns)
    assert [limit.filter(record("flood")) for _ in range(5)] == [True, True, False, False, False]
    assert limit.filter(record("another event"))
    assert limit.filter(record("flood", "another logger"))
    now_ns = 10
    first = record("flood")
    assert limit.filter(first)
    assert "suppressed=3" in LineFormatter().format(first)
    second = record("flood")
    assert limit.filter(second)
    assert "suppressed" not in LineFormatter().format(second)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=60))
def test_no_more_than_the_burst_in_an_interval_and_none_uncounted(
    steps: list[tuple[int, str]],
) -> None:
    now_ns = 0
    limit = RateLimit(burst=2, interval_ns=10, mono_ns=lambda: now_ns)
    through: dict[str, list[int]] = {"a": [], "b": []}
    held = {"a": 0, "b": 0}
    for step_ns, event in steps:
        now_ns += step_ns
        one = record(event)
        if limit.filter(one):
            assert getattr(one, "chipwatt_suppressed", 0) == held[event]
            held[event] = 0
            through[event].append(now_ns)
        else:
            held[event] += 1
    for times in through.values():  # an interval begins with its first record: two may touch
        assert all(last - first >= 10 for first, last in zip(times, times[4:], strict=False))


def test_texts_that_never_repeat_do_not_fill_memory() -> None:
    limit = RateLimit()
    for number in range(5000):
        limit.filter(logging.makeLogRecord({"name": "other", "msg": f"text {number}"}))
    assert len(limit._seen) <= 1001


@pytest.mark.parametrize("changes", [{"level": "loud"}, {"format": "xml"}])
def test_impossible_settings_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is none of"):
        LogConfig(**changes)
