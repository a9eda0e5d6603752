"""Sends what the reducer has finished: as payloads that fit, and the memory that goes with it.

A record that cannot be encoded is left out, told and counted; the others are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from chipwatt.agent import sensing_link as link
from chipwatt.agent.profiler.reducer import Memory, Reducer
from chipwatt.core import codec, wire
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Statistic
from chipwatt.core.records import Records

TOLD_EVERY: Final = 100
"""Records left out between two lines about them; the first has a line of its own."""
_SECTIONS: Final = tuple(f.name for f in fields(Records))
_log = logging.getLogger(__name__)


class Sender:
    """Encodes and sends; one a sensing process."""

    def __init__(self, outbox: link.Outbox, reducer: Reducer, memory: link.Memory) -> None:
        """Begin with the ``memory`` of the process before."""
        self._outbox = outbox
        self._reducer = reducer
        self._memory = memory
        self.left_out = 0
        """Records that no payload can hold."""

    def send(self, finished: Sequence[Records]) -> None:
        """Send what was taken together; only its last frame carries the memory after it."""
        if not finished:
            return
        payloads = [payload for records in finished for payload in self._fitting(records)]
        for payload in payloads[:-1]:
            self._outbox.push(link.Payload(payload, self._memory))
        self._memory = [memory_to_plain(entry) for entry in self._reducer.memory()]
        for payload in payloads[-1:]:
            self._outbox.push(link.Payload(payload, self._memory))

    def _fitting(self, records: Records) -> list[bytes]:
        """Encode records in as many payloads as the size limit asks for, without the unfit."""
        count = sum(len(getattr(records, name)) for name in _SECTIONS)
        try:
            payload = codec.encode_records(records)
        except InvalidPayload as error:
            if count == 1:
                self._leave_out(error)
                return []
        else:
            if len(payload) <= wire.MAX_PAYLOAD_BYTES or count < 2:
                return [payload]
        return [part for half in _halves(records, count // 2) for part in self._fitting(half)]

    def _leave_out(self, error: InvalidPayload) -> None:
        self.left_out += 1
        if self.left_out % TOLD_EVERY == 1:
            _log.error("a record cannot be sent, %d so far: %s", self.left_out, error)


def _halves(records: Records, first: int) -> tuple[Records, Records]:
    """Split after the ``first`` records, counted through all sections."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in _SECTIONS:
        rows = getattr(records, name)
        before[name], after[name] = rows[: max(0, first)], rows[max(0, first) :]
        first -= len(rows)
    return Records(**before), Records(**after)


def remembered(entries: Sequence[Mapping[str, Any]]) -> list[Memory]:
    """Read the memory of the process before; what cannot be read counts as forgotten."""
    memory = []
    for entry in entries:
        try:
            memory.append(memory_from_plain(entry))
        except InvalidPayload as error:
            _log.warning("%s: its sensor begins anew", error)
    return memory


def memory_to_plain(memory: Memory) -> dict[str, Any]:
    """Return one entry of the reducer's memory as JSON knows it."""
    return {
        "kind": memory.device.kind.name,
        "ordinal": memory.device.ordinal,
        "uid": f"{memory.device.uid:032x}",
        "domain": memory.domain.name,
        "statistic": memory.statistic.name,
        "epoch": memory.epoch,
        "cumulative_uj": memory.cumulative_uj,
        "end_mono_ns": memory.end_mono_ns,
        **({"frozen": True} if memory.frozen else {}),
        **({"in_doubt": True} if memory.in_doubt else {}),
    }


def memory_from_plain(plain: Mapping[str, Any]) -> Memory:
    """Read what ``memory_to_plain`` gave; raises InvalidPayload where it is something else."""
    try:
        device = DeviceId(
            DeviceKind[plain["kind"]], int(plain["ordinal"]), int(plain["uid"], base=16)
        )
        return Memory(
            device=device,
            domain=Domain[plain["domain"]],
            statistic=Statistic[plain.get("statistic", Statistic.ENERGY.name)],
            epoch=int(plain["epoch"]),
            cumulative_uj=int(plain["cumulative_uj"]),
            end_mono_ns=int(plain["end_mono_ns"]),
            frozen=plain.get("frozen") is True,
            in_doubt=bool(plain.get("in_doubt", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidPayload(f"memory of the sensing process cannot be read: {error!r}") from None
