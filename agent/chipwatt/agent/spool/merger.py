"""Asks the merging process for coarser payloads; both ends of its pipes.

A request is ``<QII``: the resolution in ns (0: a gap is wanted; 1: one before which the
first payload is none, but tells where each line stood), how many
payloads lie before the gap, how many payloads follow; each is ``<I`` bytes and
then these. The answer is ``<Q``, the CPU time that it took in ns, then for each
payload ``<II``: how many of the given ones it stands for, its bytes, and then these.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

COMMAND = (sys.executable, "-m", "chipwatt.agent.merging_process")
TIMEOUT_S = 60.0
STOOD = 1
"""In the place of a resolution: what lies before the gap is told by where each line stood."""
_HEAD = struct.Struct("<QII")
_SIZE = struct.Struct("<I")
_ANSWER = struct.Struct("<II")
_COST = struct.Struct("<Q")

Answer = tuple[int, bytes]
"""How many consecutive payloads one stands for, and that one."""


class MergeFailed(Exception):
    """Nothing was merged; the sentence says why."""


class Request(NamedTuple):
    """What is asked for."""

    resolution_ns: int
    before: int
    payloads: Sequence[bytes]


class Merger:
    """Runs one merging process a call."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._cpu_ns = 0

    @property
    def cpu_ms(self) -> int:
        """CPU time of all merging processes so far, children of this one."""
        return self._cpu_ns // 1_000_000

    def coarser(self, payloads: Sequence[bytes], resolution_ns: int) -> list[Answer]:
        """Return fewer payloads of that resolution, in order; see ``core.coarsen``.

        Raises MergeFailed.
        """
        answers = self._ask(Request(resolution_ns, 0, payloads))
        if sum(replaces for replaces, _ in answers) != len(payloads):
            raise MergeFailed("the merging process left payloads out")
        return answers

    def gap(self, before: Sequence[bytes], after: Sequence[bytes], stood: bytes = b"") -> bytes:
        """Return a payload with what is missing between these, empty if nothing is.

        Raises MergeFailed.
        """
        told = [stood] if stood else before
        ((_, payload),) = self._ask(Request(STOOD if stood else 0, len(told), [*told, *after]))
        return payload

    def _ask(self, request: Request) -> list[Answer]:
        asked = io.BytesIO()
        write_request(asked, request)
        try:
            process = subprocess.run(  # noqa: S603 - our own program, and no shell
                self._command,
                input=asked.getbuffer(),
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MergeFailed(f"the merging process did not run: {error}") from None
        if process.returncode:
            words = process.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            said = words[0] if words else "nothing"
            raise MergeFailed(f"the merging process ended with {process.returncode}: {said}")
        cpu_ns, answers = read_answers(process.stdout)
        self._cpu_ns += cpu_ns
        return answers


def write_request(file: BinaryIO, request: Request) -> None:
    """Write a request as the docstring has it."""
    file.write(_HEAD.pack(request.resolution_ns, request.before, len(request.payloads)))
    for payload in request.payloads:
        file.write(_SIZE.pack(len(payload)))
        file.write(payload)


def read_request(file: BinaryIO) -> Request:
    """Read a whole request."""
    resolution_ns, before, count = _HEAD.unpack(file.read(_HEAD.size))
    payloads = [file.read(_SIZE.unpack(file.read(_SIZE.size))[0]) for _ in range(count)]
    return Request(resolution_ns, before, payloads)


def write_answers(file: BinaryIO, cpu_ns: int, answers: Iterable[Answer]) -> None:
    """Write answers as the docstring has it."""
    file.write(_COST.pack(cpu_ns))
    for replaces, payload in answers:
        file.write(_ANSWER.pack(replaces, len(payload)))
        file.write(payload)
    file.flush()


def read_answers(data: bytes) -> tuple[int, list[Answer]]:
    """Read the cost and all answers; raises MergeFailed where they are cut off."""
    if len(data) < _COST.size:
        raise MergeFailed("the merging process broke off")
    answers: list[Answer] = []
    (cpu_ns,) = _COST.unpack_from(data)
    at = _COST.size
    while at < len(data):
        if at + _ANSWER.size > len(data):
            raise MergeFailed("the merging process broke off")
        replaces, size = _ANSWER.unpack_from(data, at)
        at += _ANSWER.size
        answers.append((replaces, data[at : at + size]))
        at += size
    if at > len(data):
        raise MergeFailed("the merging process broke off")
    return cpu_ns, answers
