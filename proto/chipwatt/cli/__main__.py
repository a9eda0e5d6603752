"""``python -m chipwatt.cli`` is the command ``chipwatt``."""

import sys

from chipwatt.cli.main import run

sys.exit(run())
