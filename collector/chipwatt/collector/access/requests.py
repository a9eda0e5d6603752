"""What of a request is looked at before anybody uses it: its bytes, then its lists' lengths.

An empty submessage is two bytes on the wire and hundreds in Python once somebody
looks at it; its list tells its length without that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sized
from operator import attrgetter
from typing import Any

from google.protobuf.message import DecodeError, Message

from chipwatt.collector.access.denied import invalid_request

MAX_SUBMESSAGES = 1_000
"""In one list or map of a request; no rpc takes more, see MAX_CHANGES of placement."""
Parse = Callable[[bytes], Any]


def parsed(raw: bytes, max_bytes: int, parse: Parse) -> Any:
    """Return the message that ``raw`` is. Raises Denied."""
    if len(raw) > max_bytes:
        raise invalid_request(f"the request has {len(raw)} bytes, at most {max_bytes} are taken")
    try:
        request = parse(raw)
    except DecodeError:
        raise invalid_request("the request is not the message of this rpc") from None
    check_lists(request)
    return request


def check_lists(request: Message) -> None:
    """Raise Denied where a list or map of messages in ``request`` is longer than any rpc takes."""
    kind: Any = type(request)
    for path, get in _lists(kind):
        if (length := len(get(request))) > MAX_SUBMESSAGES:
            raise invalid_request(f"{path}: {length} entries, at most {MAX_SUBMESSAGES}")


@functools.cache
def _lists(kind: Any) -> tuple[tuple[str, Callable[[Message], Sized]], ...]:
    paths = _paths(kind.DESCRIPTOR, frozenset({kind.DESCRIPTOR.full_name}))
    return tuple((path, attrgetter(path)) for path in paths)


def _paths(kind: Any, above: frozenset[str]) -> list[str]:
    """Return every list that is reached without entering one, for a message's descriptor."""
    found = []
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and field.is_repeated:
            found.append(field.name)
        elif inner is not None and inner.full_name not in above:
            below = _paths(inner, above | {inner.full_name})
            found += [f"{field.name}.{path}" for path in below]
    return found
