"""Logging: one structured line a record to stderr, rate-limited by event.

Modules log through ``get``: an event in words that never vary, and fields::

    log = get(__name__)
    log.warning("collector unreachable", address=address, retry_s=3)

A program calls ``setup`` once. Records of other libraries take the same way.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from chipwatt.core.clock import NS_PER_S

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("logfmt", "json")
_FIELDS = "chipwatt_fields"
_SUPPRESSED = "chipwatt_suppressed"
_MAX_EVENTS = 1000  # other libraries may log text that never repeats
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+:/[]@%,;<>")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``."""

    level: str = "info"
    """Least level that is written: debug, info, warning or error."""
    format: str = "logfmt"
    """How a line is written: logfmt (key=value) or json."""

    def __post_init__(self) -> None:
        for name, allowed in (("level", LEVELS), ("format", FORMATS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(allowed)}")


class Log:
    """A module's voice."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, error: BaseException, **fields: object) -> None:
        """Write an error that is a fault of ours, its traceback in one field."""
        self._write(logging.ERROR, event, fields, error)

    def _write(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        error: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, exc_info=error, extra={_FIELDS: fields})


def get(name: str) -> Log:
    """Return the log of a module, by its ``__name__``."""
    return Log(name)


def setup(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send every record of this process to ``stream`` (stderr), in place of what was set before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(as_json=config.format == "json"))
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())


class RateLimit(logging.Filter):
    """Lets ``burst`` records of an event through an interval; the next says how many it held."""

    def __init__(
        self,
        burst: int = 10,
        interval_ns: int = 10 * NS_PER_S,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__()
        self._burst = burst
        self._interval_ns = interval_ns
        self._mono_ns = mono_ns
        self._seen: dict[tuple[str, str], list[int]] = {}  # interval's start, let through, held

    def filter(self, record: logging.LogRecord) -> bool:
        # Our events are an argument (see Log), other libraries' are the template itself.
        event = record.getMessage() if hasattr(record, _FIELDS) else str(record.msg)
        now_ns = self._mono_ns()
        if len(self._seen) > _MAX_EVENTS:
            self._seen.clear()
        state = self._seen.setdefault((record.name, event), [now_ns, 0, 0])
        if now_ns - state[0] >= self._interval_ns:
            state[0], state[1] = now_ns, 0
        if state[1] >= self._burst:
            state[2] += 1
            return False
        if state[2]:
            setattr(record, _SUPPRESSED, state[2])
        state[1], state[2] = state[1] + 1, 0
        return True


class LineFormatter(logging.Formatter):
    """Writes a record as exactly one line of ASCII."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields: dict[str, object] = getattr(record, _FIELDS, {})
        line.update((f"field_{key}" if key in line else key, fields[key]) for key in fields)
        if suppressed := getattr(record, _SUPPRESSED, 0):
            line["suppressed"] = suppressed
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(line, default=str)
        return " ".join(f"{key}={_logfmt(value)}" for key, value in line.items())


def _logfmt(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text)
