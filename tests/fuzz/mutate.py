"""Mutation without coverage, for machines on which atheris has no wheel; replayable by seed."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Sequence

_EDGES = (0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF)


def mutations(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with one to eight things done to it."""
    data = bytearray(chance.choice(seeds))
    for _ in range(1 << chance.randrange(4)):
        if not data:
            data = bytearray(chance.randbytes(chance.randint(1, 64)))
        at = chance.randrange(len(data))
        end = min(len(data), at + chance.randint(1, 16))
        match chance.randrange(7):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice(_EDGES)
            case 2:
                data[at:end] = chance.randbytes(end - at)
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = chance.randbytes(end - at)
            case 5:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                data[at:] = other[start:]
            case _:
                data[at:end] = data[at:end] * 2
    return bytes(data)


def run(
    target: Callable[[bytes], None], seeds: Sequence[bytes], seconds: float, seed: int
) -> bytes | None:
    """Call ``target`` until time is up; returns the input that crashed it, None where none did."""
    chance = random.Random(seed)
    ends_s = time.monotonic() + seconds
    for data in seeds:
        target(data)
    while time.monotonic() < ends_s:
        data = mutations(chance, seeds)
        try:
            target(data)
        except Exception:  # noqa: BLE001 - every kind of it is a finding
            traceback.print_exc()
            return data
    return None
