"""The child of the coverage-guided run: libFuzzer takes its process over and ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris


def main() -> None:
    """``guided <stats file> <libFuzzer arguments>``."""
    with atheris.instrument_imports(include=["chipwatt"]):
        from fuzz.target import Target
    stats = Path(sys.argv[1])
    target = Target(stats)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
