"""``python -m chipwatt.cli.child PARENT SCRATCH MODULE ARG...``: ends with its parent.

The kernel sends SIGTERM when the parent dies, however it dies, and the module
ends as it would for any operator. SCRATCH is a folder that the parent would
have removed; where the parent is gone, this process does. ``-`` keeps it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import shutil
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tie this process to its parent, then become the module."""
    parent, scratch, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit(0)
    sys.argv = [module, *sys.argv[4:]]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if scratch != "-" and os.getppid() != parent:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
