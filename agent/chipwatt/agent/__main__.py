"""``python -m chipwatt.agent``."""

import sys

from chipwatt.agent.cli import main

sys.exit(main())
