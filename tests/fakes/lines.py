"""One counter's windows of 10 s, a payload each: what a spool holds, as small as can be."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import decode_tables, encode_records, records_from_tables
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Method, Statistic
from chipwatt.core.records import (
    DeviceWindow,
    Gap,
    PowerHistogram,
    Profile,
    Provenance,
    Records,
    Throttle,
)

START_S = 1_790_000_400  # whole minutes, by tens
WINDOW_S = 10
FIRST_UJ = 10**12
GPU = DeviceId(DeviceKind.GPU, 0, 1 << 90)


def energy_uj(number: int) -> int:
    """Return the energy of window ``number``: no two neighbours have the same."""
    return 2_000_000_000 + 7919 * number % 1_000_003


@cache
def line_energy_uj(count: int) -> int:
    """Return the energy of the first ``count`` windows."""
    return sum(energy_uj(number) for number in range(count))


@cache
def window(number: int) -> DeviceWindow:
    """Return window ``number`` of the line."""
    start_ns = number * WINDOW_S * NS_PER_S
    return DeviceWindow(
        device=GPU,
        domain=Domain.BOARD,
        statistic=Statistic.ENERGY,
        start_unix_ns=START_S * NS_PER_S + start_ns,
        start_mono_ns=77 * NS_PER_S + start_ns,
        duration_ns=WINDOW_S * NS_PER_S,
        epoch=3,
        energy_uj=energy_uj(number),
        cumulative_uj=FIRST_UJ + line_energy_uj(number + 1),
        profile=Profile(
            mean_mw=energy_uj(number) // (WINDOW_S * 1000),
            peak_1s_mw=300_000 + number,
            histogram=PowerHistogram(2, 30, 0, (9_000, 0, 1_000)),
        ),
        throttle=Throttle(),
        provenance=Provenance(Interface.NVML, Method.COUNTER, 100, 100, coverage_ppm=1_000_000),
        flags=int(Flag.ROOT),
    )


def line(count: int, first: int = 0) -> list[bytes]:
    """Return ``count`` payloads of one window each."""
    return [_payload(number) for number in range(first, first + count)]


@cache
def _payload(number: int) -> bytes:
    return encode_records(Records(windows=(window(number),)))


def windows_in(payloads: Iterable[bytes]) -> list[DeviceWindow]:
    """Return all windows of payloads, in order."""
    return [
        one for payload in payloads for one in records_from_tables(decode_tables(payload)).windows
    ]


def gaps_in(payloads: Iterable[bytes]) -> list[Gap]:
    """Return all gaps of payloads, in order."""
    return [one for payload in payloads for one in records_from_tables(decode_tables(payload)).gaps]
