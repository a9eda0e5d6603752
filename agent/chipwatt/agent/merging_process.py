"""The merging process: payloads in on stdin, coarser ones out on stdout, then it ends.

The spool starts one when it is over its quota or has lost a record: a few times
a day at most. So the agent process neither decodes payloads nor carries numpy.
``spool.merger`` has the other end and says what the pipes carry.
"""

from __future__ import annotations

import os
import sys
import time

from chipwatt.agent.spool.merger import read_request, write_answers
from chipwatt.core.coarsen import coarsen, gap_between

NICENESS = 10
"""Nobody waits for it but the disk's quota."""


def main() -> None:
    """Answer one request."""
    os.nice(NICENESS)
    request = read_request(sys.stdin.buffer)
    if request.resolution_ns:
        asked = request.payloads, request.resolution_ns
        answers = [(one.replaces, one.payload) for one in coarsen(*asked)]
    else:
        before, after = request.payloads[: request.before], request.payloads[request.before :]
        answers = [(1, gap_between(before, after))]
    write_answers(sys.stdout.buffer, time.process_time_ns(), answers)


if __name__ == "__main__":
    main()
