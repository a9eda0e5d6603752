"""``python -m chipwatt.cli.child SCRATCH MODULE ARG...``: a module that ends with its parent.

The parent holds the other end of standard input and never writes. Once that
end is gone, however the parent died, the module gets the SIGTERM that any
operator would send, and is killed where it does not heed it. SCRATCH is a
folder that the parent would have removed; then this process does. ``-`` keeps it.

The kernel's parent-death signal is of no use here: it comes once for each thread
of a parent with several, and a second SIGTERM means "at once".
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import threading
import time

_INSIST_S = 30.0
_STEP_S = 0.5


def main() -> None:
    """Tie this process to its parent, then become the module."""
    scratch, module = sys.argv[1], sys.argv[2]
    orphaned = threading.Event()
    signal.signal(signal.SIGTERM, _leave)
    sys.argv = [module, *sys.argv[3:]]
    try:
        threading.Thread(target=_watch, args=(orphaned,), name="parent", daemon=True).start()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if scratch != "-" and orphaned.is_set():
            shutil.rmtree(scratch, ignore_errors=True)


def _leave(*_: object) -> None:
    """Handle SIGTERM until the module does, so that what follows it is not skipped."""
    sys.exit(128 + signal.SIGTERM)


def _watch(orphaned: threading.Event) -> None:
    os.read(0, 1)
    orphaned.set()
    told = False
    for _ in range(int(_INSIST_S / _STEP_S)):
        # An exit from the middle of an import may be swallowed; a handler of the
        # module's own is told once, for twice means "at once".
        is_own = signal.getsignal(signal.SIGTERM) is not _leave
        if not (told and is_own):
            told = is_own
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STEP_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
