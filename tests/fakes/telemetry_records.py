"""Host seconds, windows, gaps and batches of them, as agents would send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chipwatt.collector.store.contract import BatchKey, IncomingBatch
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_records, tables_from_records
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import (
    AbsentReason,
    DeviceKind,
    Domain,
    Flag,
    GapReason,
    Interface,
    Method,
    Statistic,
)
from chipwatt.core.records import (
    AbsentInterface,
    DeviceWindow,
    Gap,
    HostSecond,
    PowerHistogram,
    Profile,
    Provenance,
    Records,
    SensorStatus,
    Throttle,
)
from chipwatt.core.wire import digest

T0_S = 1_790_000_000
MINUTE_S = 60
CPU = DeviceId(DeviceKind.CPU, 0)
GPU = DeviceId(DeviceKind.GPU, 0, 0x1122_3344_5566_7788_99AA_BBCC_DDEE_FF00)


def a_host(number: int) -> bytes:
    """Return a host id."""
    return number.to_bytes(16, "big")


def a_second(
    second: int,
    mean_mw: int,
    peak_mw: int | None = None,
    *,
    duration_ns: int = NS_PER_S,
    flags: Flag = Flag.ROOT,
) -> HostSecond:
    """Return the bin that starts at ``second`` since 1970, drawn at ``mean_mw``."""
    return HostSecond(
        start_unix_ns=second * NS_PER_S,
        start_mono_ns=second,
        duration_ns=duration_ns,
        cpu_mj=mean_mw * duration_ns // NS_PER_S,
        gpu_mj=0,
        memory_mj=0,
        other_mj=0,
        cpu_peak_mw=peak_mw,
        gpu_peak_mw=None,
        memory_peak_mw=None,
        other_peak_mw=None,
        total_peak_mw=peak_mw,
        heard=1,
        expected=1,
        flags=int(flags),
    )


def a_window(
    second: int,
    energy_uj: int,
    *,
    device: DeviceId = GPU,
    domain: Domain = Domain.BOARD,
    statistic: Statistic = Statistic.ENERGY,
    cumulative_uj: int | None = None,
) -> DeviceWindow:
    """Return a window of 10 s with every field used."""
    return DeviceWindow(
        device=device,
        domain=domain,
        statistic=statistic,
        start_unix_ns=second * NS_PER_S,
        start_mono_ns=second,
        duration_ns=10 * NS_PER_S,
        epoch=7,
        energy_uj=energy_uj,
        cumulative_uj=energy_uj if cumulative_uj is None else cumulative_uj,
        profile=Profile(
            mean_mw=energy_uj // 10_000,
            min_mw=1,
            max_mw=9_000_000,
            peak_100ms_mw=8_000_000,
            peak_1s_mw=7_000_000,
            fall_1s_mw_per_s=0,
            histogram=PowerHistogram(2, -3, 5, (1, 0, 9_995)),
            swing_share_ppm=12,
        ),
        throttle=Throttle(limit_mw=700_000, thermal_ms=0),
        provenance=Provenance(
            Interface.NVML, Method.COUNTER, 1_000, 990, 8, 2, 20_000, 100_000, 999_000
        ),
        flags=int(Flag.ROOT | Flag.PEAK_BEYOND_SENSOR),
    )


def a_gap(second: int, upper_uj: int, *, device: DeviceId = GPU) -> Gap:
    """Return a gap of 5 s."""
    return Gap(
        device=device,
        domain=Domain.BOARD,
        statistic=Statistic.ENERGY,
        start_unix_ns=second * NS_PER_S,
        start_mono_ns=second,
        duration_ns=5 * NS_PER_S,
        lower_uj=1,
        upper_uj=upper_uj,
        reason=GapReason.AGENT_DOWN,
    )


def a_sensor(device: DeviceId = GPU) -> SensorStatus:
    """Return the status of a board sensor."""
    return SensorStatus(
        device, Domain.BOARD, Statistic.ENERGY, Interface.NVML, Method.COUNTER, True,
        20_000, 0, 10_000, 900, 10**6,
    )  # fmt: skip


ABSENT = AbsentInterface(Interface.AMDSMI, AbsentReason.LIBRARY_MISSING)


def a_batch(
    host: bytes, records: Records, *, sequence: int = 1, received_s: int = T0_S
) -> IncomingBatch:
    """Return ``records`` as ingest hands them on once they are checked."""
    return IncomingBatch(
        key=BatchKey(host, bytes(16), 1, sequence),
        digest=digest(encode_records(records)),
        received_unix_ns=received_s * NS_PER_S,
        tables=tables_from_records(records),
    )


def seconds_of(powers_mw: Mapping[int, tuple[int, int | None]]) -> Records:
    """Return host seconds from (second: (mean, peak))."""
    return Records(host_seconds=tuple(a_second(s, *power) for s, power in powers_mw.items()))


def steady(start_s: int, seconds: Iterable[tuple[int, int | None]]) -> Records:
    """Return consecutive host seconds from ``start_s`` on, as (mean, peak)."""
    return seconds_of(dict(enumerate(seconds, start_s)))


def minute(start_s: int) -> list[Records]:
    """Return a minute of one host in six batches, at 200 W with peaks of some 300 W."""
    return [
        Records(
            windows=(
                a_window(start_s + at, 5_000_000 + at, cumulative_uj=10**9 + at),
                a_window(start_s + at, 7_000_000, device=CPU, domain=Domain.PACKAGE),
            ),
            host_seconds=steady(start_s + at, [(200_000, 300_000 + at)] * 10).host_seconds,
            gaps=(a_gap(start_s + at, 9),) if at == 30 else (),
            sensors=(a_sensor(),) if at == 0 else (),
            absent=(ABSENT,) if at == 0 else (),
        )
        for at in range(0, MINUTE_S, 10)
    ]
