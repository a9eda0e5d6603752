"""``python -m tests.e2e.faults``: runs the fault matrix and prints what it showed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from e2e.faults.run import main  # noqa: E402 - the tests' own folder comes first

sys.exit(main())
