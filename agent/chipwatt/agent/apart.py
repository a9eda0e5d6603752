"""Runs a look at this host's sources in a child process, which a vendor library may end.

The commands ``sensors`` and ``doctor`` open every library there is. One that
crashes ends the child alone: the source is left out and the look repeated, so
that a person reads what happened. What libraries write to standard output goes
to standard error.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from chipwatt.agent import sensing_link as link
from chipwatt.agent.opening import Careful
from chipwatt.agent.suspects import Suspects
from chipwatt.core.errors import ChipwattError

MOST_DEATHS: Final = 12
"""More would have other reasons than a source that is opened."""
_HEAD = struct.Struct("<I")

Look = Callable[[Careful], dict[str, Any]]


def apart(look: Look) -> dict[str, Any]:
    """Return what ``look`` returns in a child, without the sources that end it while they open.

    Raises the ChipwattError that ``look`` raised, and one where the child ends again
    and again for no source's sake.
    """
    suspects = Suspects()
    code = 0
    for _ in range(MOST_DEATHS):
        start = suspects.careful_start(link.Start({}, {}))
        answer, code = _once(look, suspects, dict(start.left_out), one_by_one=start.one_by_one)
        if isinstance(answer, ChipwattError):
            raise answer
        if answer is not None:
            return answer
        if not suspects.opening:
            break
        suspects.died(code)
    raise ChipwattError(
        f"the process that looks at the sensors ended with code {code}; the kernel's log "
        "(dmesg) may say why"
    )


def _once(
    look: Look, suspects: Suspects, left_out: dict[str, str], *, one_by_one: bool
) -> tuple[dict[str, Any] | ChipwattError | None, int]:
    """Return the child's answer, None where it died, and its exit code."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        _child(look, writes, left_out, one_by_one=one_by_one)
    os.close(writes)
    answer: dict[str, Any] | ChipwattError | None = None
    try:
        with os.fdopen(reads, "rb") as pipe:
            while len(head := pipe.read(_HEAD.size)) == _HEAD.size:
                (length,) = _HEAD.unpack(head)
                body = pipe.read(length)
                if len(body) < length:
                    break
                message = pickle.loads(body)  # noqa: S301 - from our own child
                if isinstance(message, link.Opening):
                    suspects.heard(message)
                else:
                    answer = message
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it has said all, or nobody waits for it any more
        _, status = os.waitpid(pid, 0)
    return answer, os.waitstatus_to_exitcode(status)


def _child(look: Look, writes: int, left_out: dict[str, str], *, one_by_one: bool) -> NoReturn:
    os.dup2(2, 1)

    def tell(message: object) -> None:
        body = pickle.dumps(message)
        os.write(writes, _HEAD.pack(len(body)))
        view = memoryview(body)
        while view:
            view = view[os.write(writes, view) :]

    def note(name: str, back: bool) -> None:
        tell(link.Opening(name, back))

    code = 1
    try:
        tell(look(Careful(left_out, one_by_one, note)))
        code = 0
    except ChipwattError as error:
        tell(error)
    except KeyboardInterrupt:
        code = 130
    except Exception:  # noqa: BLE001 - a fault of ours: nobody above would print it
        traceback.print_exc()
    finally:
        os._exit(code)  # a library that hangs, or writes at exit, is no matter any more
