from __future__ import annotations

from importlib.metadata import version

from chipwatt.core import codec, wire


def test_one_truth_with_the_codec() -> None:
    assert wire.SCHEMA_VERSION == codec.SCHEMA_VERSION
    assert wire.MAX_PAYLOAD_BYTES == codec.MAX_PAYLOAD_BYTES
    assert wire.digest(b"payload") == codec.digest(b"payload")


def test_version_is_that_of_the_distribution() -> None:
    assert ".".join(map(str, wire.VERSION)) == version("chipwatt")
