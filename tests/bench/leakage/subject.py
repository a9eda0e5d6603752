"""The whole way of a tenant's minute, each stage a value, so that a mutant may replace one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from google.protobuf.descriptor import Descriptor

from bench.leakage import reduced
from bench.leakage.traces import LIMIT_MW, Array
from chipwatt.agent.attribution.window_book import Share, WindowBook
from chipwatt.collector.egress.noise import Noise, discrete_laplace
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import decode_tables, encode_records, encode_tables
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import Records, WorkloadWindow
from chipwatt.core.workload import Binding, Holding
from chipwatt.v1 import telemetry_pb2, types_pb2

_ID: Final = bytes(range(16))
Minute = tuple[WorkloadWindow, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is shipped."""

    reduce: Callable[[Array], Sequence[WorkloadWindow]]
    """Power in mW by millisecond of a minute, to all that is said of it."""
    frame: Callable[[Sequence[WorkloadWindow]], bytes]
    """What is said, as it is sent."""
    sent: Callable[[Sequence[Array]], list[int]]
    """Numbers of the minutes in which something is sent, of a workload's minutes of power."""
    noise: Callable[[], Noise]
    """Of the tier ``dp``, as each process makes it."""
    relay: Callable[[bytes], bytes]
    """A payload as it comes in, to all of it that the collector keeps."""
    messages: Sequence[Descriptor]
    """What agents can send."""


def shipped() -> Subject:
    """Return what Chipwatt does."""
    return Subject(
        reduce=lambda power_mw: [reduced.window_of(power_mw, secret=b"s", history_uj=0)],
        frame=frame,
        sent=lambda minutes: [n for n, minute in enumerate(told(minutes)) if minute],
        noise=discrete_laplace,
        relay=lambda payload: encode_tables(decode_tables(payload)),
        messages=(telemetry_pb2.StreamRequest.DESCRIPTOR, types_pb2.Payload.DESCRIPTOR),
    )


def frame(windows: Sequence[WorkloadWindow]) -> bytes:
    """Return the payload of a minute in which some workloads were told of."""
    (minute,) = told([np.zeros(60_000, np.int64)])
    (empty,) = {row for row in minute if not row.limit_mw}
    rows = (*windows, *[empty] * (coarse.ROWS - len(windows)))
    return encode_records(Records(workloads=rows))


def told(minutes: Sequence[Array]) -> list[Minute]:
    """Return what a host's book says of one workload's minutes."""
    book = WindowBook()
    binding = Binding(_ID, _ID, devices=(Holding(DeviceId(DeviceKind.GPU)),))
    book.open([binding], {_ID: LIMIT_MW}, LIMIT_MW)
    said = []
    for number, power_mw in enumerate(minutes):
        seconds = power_mw.reshape(60, 10, -1).sum(2).tolist()
        for second, cells_uj in enumerate(seconds):
            share = Share(cells_uj, NS_PER_S, is_modelled=False)
            book.second(second * NS_PER_S, NS_PER_S, {_ID: share}, stepped=False)
        said.append(book.close(reduced.START_UNIX_NS + number * coarse.WINDOW_NS))
    return said
