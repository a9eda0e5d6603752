"""What the sensing process and the agent process say to each other over their Unix socket.

A frame is ``u32 length, u8 kind, body``, little-endian; ``length`` counts kind
and body.

==========  ===========  ==========================================================
direction   kind         body
==========  ===========  ==========================================================
down        START        JSON ``{"sensing": {…}, "sources": {name: {…}}, "memory": […],
                         "left_out": {name: why}, "wary": [name], "one_by_one": bool}``
down        STOP         empty
down        SET_CADENCE  u8: seconds that a batch is to cover; 0: as START said
down        BIND         JSON ``[{"workload", "class", "cgroup", "devices"}]``: all there are
up          PAYLOAD      ``u32 n``, n bytes of payload, JSON list: the memory behind it
up          DONE         empty: a replay has come to its end
up          OPENING      JSON ``[name, bool]``: a source's opening begins; true: came back
up          ANEW         JSON ``[name]``: ends, to be started again for what was found
up          DEVICES      JSON ``["cpu/0"]``: chips whose energy is added up, from now on
==========  ===========  ==========================================================

Of measurements nothing goes upwards but what ``codec.encode_records`` made of
finished windows. *Memory* is what the sensing process needs back after a restart;
the agent keeps it unread. This module knows no record and no numpy, so that the
agent process stays small.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from chipwatt.core.errors import InvalidPayload
from chipwatt.core.identity import DeviceId, parse_device
from chipwatt.core.workload import Binding

MAX_FRAME_BYTES = 1 << 20
MAX_BATCH_S = 60
"""Longest batch that anybody may ask for."""
_HEAD = struct.Struct("<IB")
_SIZE = struct.Struct("<I")

Memory = Sequence[Mapping[str, Any]]


class Kind(IntEnum):
    """What a frame is."""

    START = 1
    STOP = 2
    PAYLOAD = 3
    DONE = 4
    SET_CADENCE = 5
    OPENING = 6
    ANEW = 7
    BIND = 8
    DEVICES = 9


@dataclass(frozen=True, slots=True)
class Start:
    """Begin, with these settings and this memory of the run before."""

    sensing: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    memory: Memory = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Sources that are not opened, and why."""
    wary: tuple[str, ...] = ()
    """Sources that are not looked for again before an hour is over."""
    one_by_one: bool = False
    """Open sources one after the other, since one of them ended the process before."""
    state_dir: str = ""
    """The agent's, for other agents of this host to be told."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish: hand out what is left and end."""


@dataclass(frozen=True, slots=True)
class SetCadence:
    """From the next batch on let each cover so many seconds, 1 to 60; 0: as START said."""

    batch_s: int


@dataclass(frozen=True, slots=True)
class Bind:
    """From now on these workloads are bound, and no others."""

    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """Finished records, and the memory that a restart after them needs."""

    payload: bytes
    memory: Memory = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A replay has come to its end; every payload was sent before."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A source is about to be opened, which may end the process, or it came ``back``."""

    name: str
    back: bool


@dataclass(frozen=True, slots=True)
class Anew:
    """The process ends, to be started again at once: ``found`` has more sensors to give."""

    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Devices:
    """These are the chips whose energy is added up: what a workload can hold of this host."""

    devices: tuple[DeviceId, ...]


Message = Start | Stop | SetCadence | Bind | Payload | Done | Opening | Anew | Devices


def encode(message: Message) -> bytes:
    """Write one frame; raises InvalidPayload where it would be too long."""
    match message:
        case Start():
            kind = Kind.START
            body = _json(
                {
                    "sensing": dict(message.sensing),
                    "sources": {name: dict(table) for name, table in message.sources.items()},
                    "memory": [dict(entry) for entry in message.memory],
                    "left_out": dict(message.left_out),
                    "wary": list(message.wary),
                    "one_by_one": message.one_by_one,
                    "state_dir": message.state_dir,
                }
            )
        case Stop():
            kind, body = Kind.STOP, b""
        case SetCadence():
            kind, body = Kind.SET_CADENCE, bytes((message.batch_s,))
        case Bind():
            kind = Kind.BIND
            body = _json([binding.to_plain() for binding in message.bindings])
        case Payload():
            kind = Kind.PAYLOAD
            memory = _json([dict(entry) for entry in message.memory])
            body = _SIZE.pack(len(message.payload)) + message.payload + memory
        case Opening():
            kind, body = Kind.OPENING, _json([message.name, message.back])
        case Anew():
            kind, body = Kind.ANEW, _json(list(message.found))
        case Devices():
            kind, body = Kind.DEVICES, _json([str(device) for device in message.devices])
        case _:
            kind, body = Kind.DONE, b""
    if len(body) >= MAX_FRAME_BYTES:
        raise InvalidPayload(f"{kind.name} frame of {len(body)} bytes, at most {MAX_FRAME_BYTES}")
    return _HEAD.pack(len(body) + 1, kind) + body


class FrameReader:
    """Turns whatever pieces a socket gives into messages; knows no socket itself."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes in and return the messages that they complete, in order.

        Raises InvalidPayload at the first frame that breaks the format; the
        stream is of no use after that.
        """
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._buffer)
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise InvalidPayload(f"frame of {length} bytes, at most {MAX_FRAME_BYTES}")
            end = _SIZE.size + length
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            messages.append(_decode(kind, body))
        return messages


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except TypeError as error:
        raise InvalidPayload(
            f"a setting cannot be handed to the sensing process: {error}"
        ) from None


def _decode(kind: int, body: bytes) -> Message:
    decode = _DECODERS.get(kind)
    if decode is None:
        raise InvalidPayload(f"frame of unknown kind {kind}")
    try:
        return decode(body)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise InvalidPayload(f"frame of kind {kind} cannot be read: {error!r}") from None


def _start(body: bytes) -> Start:
    plain = json.loads(body)
    return Start(**{**plain, "wary": tuple(plain["wary"])})


def _set_cadence(body: bytes) -> SetCadence:
    (batch_s,) = body
    if batch_s > MAX_BATCH_S:
        raise InvalidPayload(f"cadence of {batch_s} s, at most {MAX_BATCH_S}")
    return SetCadence(batch_s)


def _payload(body: bytes) -> Payload:
    (size,) = _SIZE.unpack_from(body)
    end = _SIZE.size + size
    if end > len(body):
        raise InvalidPayload(f"payload of {size} bytes in a frame of {len(body)}")
    return Payload(body[_SIZE.size : end], json.loads(body[end:]))


def _bind(body: bytes) -> Bind:
    return Bind(tuple(Binding.from_plain(plain) for plain in json.loads(body)))


def _opening(body: bytes) -> Opening:
    name, back = json.loads(body)
    return Opening(str(name), bool(back))


def _anew(body: bytes) -> Anew:
    return Anew(tuple(map(str, json.loads(body))))


def _devices(body: bytes) -> Devices:
    return Devices(tuple(parse_device(text) for text in json.loads(body)))


_DECODERS: Mapping[int, Callable[[bytes], Message]] = {
    Kind.START: _start,
    Kind.STOP: lambda _: Stop(),
    Kind.SET_CADENCE: _set_cadence,
    Kind.PAYLOAD: _payload,
    Kind.DONE: lambda _: Done(),
    Kind.OPENING: _opening,
    Kind.BIND: _bind,
    Kind.ANEW: _anew,
    Kind.DEVICES: _devices,
}
