"""Pages that neither skip nor repeat a row while the store grows.

A token names the last row that was given, by its key, not by its number. The
next page is what sorts after it, so rows that arrive in between move nothing.
A token also carries a mark of the request it belongs to.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

DEFAULT_PAGE = 1_000
MAX_PAGE = 10_000
MAX_PAGE_BYTES = 3 * 1024 * 1024
"""gRPC takes messages of 4 MiB unless told otherwise."""

Key = tuple[int, ...]
"""Sorts rows; its first number is the row's start time."""
Row = TypeVar("Row")


class InvalidPage(ValueError):
    """A page size or token that cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows of one answer and the key to go on after; None at the end."""

    rows: list[Row]
    next_key: Key | None


def page_limit(page_size: int) -> int:
    """Return how many rows a page holds; 0 asks for the default."""
    if page_size > MAX_PAGE:
        raise InvalidPage(f"page_size: {page_size} is more than {MAX_PAGE}")
    return page_size or DEFAULT_PAGE


def encode_token(request: Sequence[object], key: Key | None) -> str:
    """Return the opaque token that goes on after ``key``; empty at the end."""
    if key is None:
        return ""
    return base64.urlsafe_b64encode(json.dumps([_mark(request), *key]).encode()).decode()


def decode_token(request: Sequence[object], token: str, length: int) -> Key | None:
    """Read a token back as a key of ``length`` numbers; None for the first page.

    Raises InvalidPage where it is no token of ours or belongs to another request.
    """
    if not token:
        return None
    try:
        mark, *key = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise InvalidPage("page_token: not a token that this collector gave") from None
    if mark != _mark(request):
        raise InvalidPage("page_token: it was given for another request")
    if len(key) != length or not all(type(part) is int for part in key):
        raise InvalidPage("page_token: not a token that this collector gave")
    return tuple(key)


def page_by_key(
    fetch: Callable[[int, int], Sequence[Row]],
    key: Callable[[Row], Key],
    start: int,
    after: Key | None,
    limit: int,
) -> Page[Row]:
    """Return up to ``limit`` rows that sort after ``after``.

    ``fetch(start, n)`` gives the first ``n`` rows by start time, from ``start``
    on, in any order among equals.
    """
    first = start if after is None else after[0]
    wanted = limit + 1
    while True:
        rows = sorted(fetch(first, wanted), key=key)
        complete = len(rows) < wanted
        if not complete:
            # Of the last start time some rows may be missing: they wait for the next fetch.
            last = key(rows[-1])[0]
            rows = [row for row in rows if key(row)[0] != last]
        fresh = [row for row in rows if after is None or key(row) > after]
        if len(fresh) > limit or complete:
            break
        if fresh and len(fresh) * 2 > limit:
            return Page(fresh, key(fresh[-1]))
        wanted *= 2
    more = len(fresh) > limit
    return Page(fresh[:limit], key(fresh[limit - 1]) if more else None)


def cut_to_bytes(sizes: Sequence[int], most: int = MAX_PAGE_BYTES) -> int:
    """Return how many of the messages fit into one answer, at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > most and count:
            return count
    return len(sizes)


def _mark(request: Sequence[object]) -> str:
    return hashlib.blake2b(repr(tuple(request)).encode(), digest_size=6).hexdigest()
