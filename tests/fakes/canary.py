"""Random words put where a tenant may put any, and the search for them in what we wrote."""

from __future__ import annotations

import base64
import gzip
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import zstandard

_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"
MOST_BYTES = 1 << 24


def canary() -> str:
    """Return 24 characters that are nowhere else."""
    return secrets.token_hex(12)


def spellings(word: str) -> Iterator[bytes]:
    """Yield a word as it is, in UTF-16, hex, base64 at any offset, and reversed."""
    plain = word.encode()
    yield plain
    yield word.encode("utf-16-le")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for offset in range(3):
        # Of what precedes and follows it, the characters at both ends depend.
        yield base64.b64encode(bytes(offset) + plain)[4 if offset else 0 : -4]
    yield plain[::-1]


def layers(data: bytes) -> Iterator[bytes]:
    """Yield data, and everything in it that was compressed, wherever it begins."""
    yield data
    for found in re.finditer(re.escape(_ZSTD), data):
        try:
            reader = zstandard.ZstdDecompressor().decompressobj()
            yield reader.decompress(data[found.start() :])
        except zstandard.ZstdError:
            continue
    for found in re.finditer(re.escape(_GZIP), data):
        try:
            yield zlib.decompressobj(31).decompress(data[found.start() :], MOST_BYTES)
        except zlib.error:
            continue


def hits(words: Mapping[str, str], found: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return which words, by where each was put, are in which of ``found``."""
    return sorted(
        {
            f"{place} in {name}"
            for name, data in found
            for layer in layers(data)
            for place, word in words.items()
            if any(spelling in layer for spelling in spellings(word))
        }
    )


def files(folder: Path, *but: str) -> Iterator[tuple[str, bytes]]:
    """Yield every file below ``folder`` but those of some names, by its path."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in but:
            yield str(path.relative_to(folder)), path.read_bytes()


def compressed(data: bytes) -> Iterator[bytes]:
    """Yield data in the ways in which we compress it."""
    yield zstandard.ZstdCompressor().compress(data)
    yield gzip.compress(data)
