"""How many submessages a request holds: counted before one of them is touched.

An empty submessage is two bytes on the wire and hundreds in Python once somebody
looks at it; its list tells its length without that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sized
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message

MAX_SUBMESSAGES = 1_000
"""In one list or map of a request; no rpc takes more, see MAX_CHANGES of placement."""


class TooManySubmessages(Exception):
    """More than may be; the message names the field."""


def count(request: Message) -> None:
    """Look at each list and map of messages in ``request``. Raises TooManySubmessages."""
    kind: Any = type(request)
    for path, get in _lists(kind):
        if (length := len(get(request))) > MAX_SUBMESSAGES:
            raise TooManySubmessages(f"{path}: {length} entries, at most {MAX_SUBMESSAGES}")


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
