from __future__ import annotations

from importlib.metadata import version

from chipwatt.core import wire


def test_version_is_that_of_the_distribution() -> None:
    assert ".".join(map(str, wire.VERSION)) == version("chipwatt")
