"""Which of the sensors that are watched have fallen silent: what they last said is no "now"."""

from __future__ import annotations

from typing import Final

from chipwatt.cli.quantities import duration_text
from chipwatt.core.records import DeviceWindow, HostSecond

BEHIND_NS: Final = 2_000_000_000
"""How far a sensor may lag behind the others, beside the window that it is still filling."""
ON_THE_WAY_NS: Final = 4_000_000_000
"""How long data may take from its end to the screen: batch, commit, and the next look."""


def silent_ns(newest: DeviceWindow | HostSecond, others_unix_ns: int, now_unix_ns: int) -> int:
    """Return how long nothing has come after ``newest``; 0 while it is as new as can be.

    ``others_unix_ns`` is the end of the newest data of any sensor, ``now_unix_ns``
    the wall clock (0: unknown). A slow sensor's window waits for its next refresh.
    """
    end_unix_ns = newest.start_unix_ns + newest.duration_ns
    patience_ns = newest.duration_ns
    if isinstance(newest, DeviceWindow):
        patience_ns += 2 * newest.provenance.refresh_us * 1_000
    behind_ns = others_unix_ns - end_unix_ns
    age_ns = now_unix_ns - end_unix_ns
    if behind_ns > patience_ns + BEHIND_NS or age_ns > patience_ns + ON_THE_WAY_NS:
        return max(behind_ns, age_ns)
    return 0


def no_data(silence_ns: int) -> str:
    """Return ``no data for 12 s``."""
    return f"no data for {duration_text(silence_ns // 10**9 * 10**9)}"
