"""``chipwatt otlp dump``: what the OTLP export sends of what a collector has stored.

Asks the collector as ``chipwatt query`` does and puts the answers through the exporter's
own encoder. Running sums of the export (histogram, throttled time, polls, gaps, host
energy) begin with the dump, as they begin with a collector's start.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options
from chipwatt.cli.extras import MissingExtra, optional
from chipwatt.cli.tables import Table, show
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import MAX_ROWS, SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.records import DeviceWindow, Gap, Records

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient, HostInfo
    from chipwatt.collector.otlp.request import Request

_HEADINGS = ("host", "metric", "attributes", "time", ">seconds", ">value", "unit")
_LEAST_INTERVAL_NS = 1_000_000_000


def add_parser(subparsers: Any) -> None:
    """Add ``otlp`` to the command line."""
    parser = subparsers.add_parser(
        "otlp",
        help="what leaves for a metrics back end",
        description="Look at the OTLP export.",
    )
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    dump = what.add_parser(
        "dump",
        help="print what is sent for what a collector has stored",
        description="Print the points that the OTLP export makes of stored windows and gaps.",
    )
    options.add_last(dump, "2min")
    options.add_host(dump)
    dump.add_argument(
        "--interval",
        type=options.duration_ns,
        default=60 * _LEAST_INTERVAL_NS,
        metavar="TIME",
        help="otlp.interval of the collector: one point a series in this time (default: 1min)",
    )
    dump.add_argument("--metric", default="", help="only metrics whose name begins so")
    dump.add_argument(
        "--json", action="store_true", help="print each request as OTLP has it in JSON"
    )
    options.add_collector(dump)


def run(args: argparse.Namespace) -> int:
    """Print the points of every interval that begins since ``--last``, ordered as they go out."""
    interval_ns = max(int(args.interval), _LEAST_INTERVAL_NS)
    start_unix_ns = options.since_unix_ns(args) // interval_ns * interval_ns
    with options.client(args) as collector:
        hosts = list(collector.hosts())
        if args.host or not hosts:
            hosts = [options.pick_host(collector, args.host)]
        requests = _requests(collector, hosts, start_unix_ns, interval_ns)
        if args.json:
            _print_json(requests)
        else:
            _print_table(requests, args.metric)
    return 0


def _requests(
    collector: CollectorClient, hosts: Iterable[HostInfo], start_unix_ns: int, interval_ns: int
) -> Iterator[Request]:
    """Yield requests host by host, as little at a time."""
    if optional("opentelemetry.proto") is None:
        raise MissingExtra(
            "the OTLP encoder needs the package opentelemetry-proto: run pip install "
            "'chipwatt[collector]'."
        )
    from chipwatt.cli.main import version
    from chipwatt.collector.otlp.encode import Encoder
    from chipwatt.collector.otlp.intervals import GAPS, WINDOWS, Intervals
    from chipwatt.collector.store.contract import Block

    for host in hosts:
        number: dict[DeviceId, int] = {}
        waiting = {
            SectionKind.DEVICE_WINDOW: Intervals(interval_ns, kind=WINDOWS),
            SectionKind.GAP: Intervals(interval_ns, kind=GAPS),
        }
        windows = tuple(collector.windows(host.host_id, start_unix_ns))
        gaps = tuple(collector.gaps(host.host_id, start_unix_ns))
        for position, records in enumerate(_some_at_a_time(windows, gaps), 1):
            tables = tables_from_records(records)
            for kind, owned in (
                (SectionKind.DEVICE_WINDOW, records.windows),
                (SectionKind.GAP, records.gaps),
            ):
                if owned:
                    devices = [number.setdefault(each.device, len(number)) for each in owned]
                    block = Block(position, kind, *_owners(devices), tables[kind])
                    waiting[kind].add([block])
        encoder = Encoder(interval_ns, version=version())
        host_id = bytes.fromhex(host.host_id)
        encoder.learn([host_id], {host_id: host.name}, [(host_id, each) for each in number])
        yield from encoder.requests(
            waiting[SectionKind.DEVICE_WINDOW].close_all(),
            time.time_ns(),
            waiting[SectionKind.GAP].close_all(),
        )


def _some_at_a_time(windows: tuple[DeviceWindow, ...], gaps: tuple[Gap, ...]) -> Iterator[Records]:
    for at in range(0, max(len(windows), len(gaps)), MAX_ROWS):
        yield Records(windows=windows[at : at + MAX_ROWS], gaps=gaps[at : at + MAX_ROWS])


def _owners(devices: list[int]) -> tuple[Any, Any]:
    """Return the host and device numbers of a block of one host."""
    import numpy as np

    return np.zeros(len(devices), np.int64), np.array(devices, np.int64)


def _print_json(requests: Iterable[Request]) -> None:
    from google.protobuf import json_format

    for request in requests:
        print(json.dumps(json_format.MessageToDict(request.message), sort_keys=True))


def _print_table(requests: Iterable[Request], prefix: str) -> None:
    rows = [row for request in requests for row in _rows(request) if row[1].startswith(prefix)]
    if not rows:
        print("nothing is stored for this time; try a longer --last.")
        return
    show(Table(_HEADINGS, list(rows)))
    print(f"{len(rows)} points.")


def _rows(request: Request) -> Iterator[tuple[str, ...]]:
    from chipwatt.collector.otlp.request import points_of

    for of_host in request.message.resource_metrics:
        host = _attributes(of_host.resource.attributes).get("host.name", "")
        for of_scope in of_host.scope_metrics:
            for metric in of_scope.metrics:
                for point in points_of(metric):
                    yield (host, metric.name, *_cells(point), metric.unit)


def _cells(point: Any) -> tuple[str, str, str, str]:
    """Return attributes, time, the time that is told of, and value of a point of any kind."""
    attributes = _attributes(point.attributes)
    # Both follow from hw.id, and a line has only so much room.
    named = [f"{k}={v}" for k, v in attributes.items() if k not in ("hw.name", "hw.type")]
    span_s = (point.time_unix_nano - point.start_time_unix_nano) / 1e9
    when = time.strftime("%m-%d %H:%M:%S", time.localtime(point.time_unix_nano // 10**9))
    return " ".join(named), when, f"{span_s:.3f}", _value(point)


def _value(point: Any) -> str:
    if hasattr(point, "bucket_counts") or hasattr(point, "positive"):
        mean = f"{point.sum / point.count:.3f}" if point.count else "-"
        buckets = len(point.positive.bucket_counts)
        return f"{point.count} ms, mean {mean}, scale {point.scale}, {buckets} buckets"
    return str(point.as_int) if point.HasField("as_int") else f"{point.as_double:.6f}"


def _attributes(attributes: Iterable[Any]) -> dict[str, str]:
    return {
        each.key: each.value.string_value
        if each.value.HasField("string_value")
        else str(each.value.bool_value).lower()
        for each in attributes
    }
