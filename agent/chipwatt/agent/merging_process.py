"""The merging process: payloads in on stdin, coarser ones out on stdout, then it ends.

The spool starts one when it is over its quota or has lost a record: a few times
a day at most. So the agent process neither decodes payloads nor carries numpy.
``spool.merger`` has the other end and says what the pipes carry.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress

from chipwatt.agent.spool.merger import STOOD, read_request, write_answers
from chipwatt.core.coarsen import Line, Stood, coarsen, gap_after, gap_between

NICENESS = 10
"""Nobody waits for it but the disk's quota."""


def standing(note: bytes) -> tuple[dict[Line, Stood], int]:
    """Return where each line stood, and since when others may have (0: no others did)."""
    from chipwatt.agent.sender import remembered

    stood: dict[Line, Stood] = {}
    with suppress(ValueError):
        for each in remembered(json.loads(note[8:] or b"[]")):
            line = (each.device, each.domain, each.statistic)
            stood[line] = Stood(each.end_mono_ns, each.epoch, each.cumulative_uj)
    return stood, int.from_bytes(note[:8], "little")


def main() -> None:
    """Answer one request."""
    os.nice(NICENESS)
    request = read_request(sys.stdin.buffer)
    if request.resolution_ns == STOOD:
        note, *behind = request.payloads
        answers = [(1, gap_after(*standing(note), behind))]
    elif request.resolution_ns:
        asked = request.payloads, request.resolution_ns
        answers = [(one.replaces, one.payload) for one in coarsen(*asked)]
    else:
        before, after = request.payloads[: request.before], request.payloads[request.before :]
        answers = [(1, gap_between(before, after))]
    write_answers(sys.stdout.buffer, time.process_time_ns(), answers)


if __name__ == "__main__":
    main()
