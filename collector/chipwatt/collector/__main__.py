"""``python -m chipwatt.collector``."""

from __future__ import annotations

import sys

from chipwatt.collector.cli import main

if __name__ == "__main__":
    sys.exit(main())
