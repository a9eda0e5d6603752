"""Requests for rows in a range of time: their pages, and the keys that rows sort by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from chipwatt.collector.answering import invalid
from chipwatt.collector.query.paging import (
    InvalidPage,
    Key,
    cut_to_bytes,
    decode_token,
    encode_token,
    page_by_key,
    page_limit,
)
from chipwatt.core.identity import DeviceId
from chipwatt.core.records import DeviceWindow, Gap, HostSecond

_NEVER_UNIX_NS = 1 << 62  # the year 2116; leaves room to round up to a whole bin
Row = TypeVar("Row")
Answer = TypeVar("Answer", bound=Message)


class Ranged(Protocol):
    """What such requests have in common."""

    @property
    def start_unix_ns(self) -> int: ...
    @property
    def end_unix_ns(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


def page(
    request: Ranged,
    asked: Sequence[object],
    key_length: int,
    fetch: Callable[[int, int], Sequence[Row]],
    key: Callable[[Row], Key],
    message: Callable[[Row], Answer],
) -> tuple[list[Answer], str]:
    """Return the page that ``request`` asks for as messages, and the token to go on with."""
    try:
        limit = page_limit(request.page_size)
        after = decode_token(asked, request.page_token, key_length)
    except InvalidPage as error:
        raise invalid(str(error)) from None
    page = page_by_key(fetch, key, request.start_unix_ns, after, limit)
    messages = [message(row) for row in page.rows]
    fitting = cut_to_bytes([item.ByteSize() for item in messages])
    next_key = page.next_key if fitting == len(messages) else key(page.rows[fitting - 1])
    return messages[:fitting], encode_token(asked, next_key)


def range_end(request: Ranged) -> int:
    """Return the end of the range asked for; 0 stands for no end."""
    end = min(request.end_unix_ns or _NEVER_UNIX_NS, _NEVER_UNIX_NS)
    if request.start_unix_ns < 0:
        raise invalid("start_unix_ns: before 1970")
    if end < request.start_unix_ns:
        raise invalid("end_unix_ns: before start_unix_ns")
    return end


def _device_key(device: DeviceId) -> Key:
    return (device.kind, device.ordinal, device.uid)


def window_key(window: DeviceWindow) -> Key:
    """Return what windows sort by."""
    return (window.start_unix_ns, *_device_key(window.device), window.domain, window.statistic,
            window.start_mono_ns, window.epoch, window.duration_ns)  # fmt: skip


def second_key(second: HostSecond) -> Key:
    """Return what host seconds sort by."""
    return (second.start_unix_ns, second.start_mono_ns)


def gap_key(gap: Gap) -> Key:
    """Return what gaps sort by."""
    return (gap.start_unix_ns, *_device_key(gap.device), gap.domain, gap.statistic,
            gap.start_mono_ns, gap.duration_ns, gap.reason)  # fmt: skip
