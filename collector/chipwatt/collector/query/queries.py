"""What QueryService answers, without the network: requests in, responses out.

Raises Refused with NOT_FOUND for a host or device that nobody knows, and with
INVALID_ARGUMENT, the field's name first, for what cannot be asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from typing import Protocol, TypeVar

import grpc

from chipwatt.collector.answering import Refused, invalid, not_found
from chipwatt.collector.egress.policy import EVERYTHING, View
from chipwatt.collector.egress.shield import shielded
from chipwatt.collector.latest import Latest
from chipwatt.collector.query import answers
from chipwatt.collector.query.open_gaps import HostNow, open_gaps
from chipwatt.collector.query.paging import (
    MAX_PAGE_BYTES,
    InvalidPage,
    decode_token,
    encode_token,
    page_limit,
)
from chipwatt.collector.query.ranged import gap_key, page, range_end, second_key, window_key
from chipwatt.collector.store.contract import AHEAD_NS, HostFacts, HostRow, Store
from chipwatt.collector.store.lines import Line
from chipwatt.collector.store.quarantine import Conflict
from chipwatt.core.identity import DeviceId, parse_device
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import DeviceWindow, Gap, HostSecond
from chipwatt.v1 import query_pb2 as pb

RESOLUTIONS_NS = (0, 10_000_000_000, 60_000_000_000, 600_000_000_000, 3_600_000_000_000)
Member = TypeVar("Member", bound=IntEnum)


class QueriedStore(Store, Protocol):
    """What answers need of a store beyond its history."""

    def lines(self, host: bytes) -> list[Line]:
        """Return where each sensor's rows end, as of some minutes ago."""
        ...

    def conflicts(self) -> list[Conflict]:
        """Return what contradicted a stored batch, newest first."""
        ...


class Queries:
    """Answers from the store and the newest state; called from several threads."""

    def __init__(
        self,
        store: QueriedStore,
        latest: Latest,
        connected: Callable[[], AbstractSet[bytes]],
        *,
        facts: Callable[[], Callable[[bytes], HostFacts]] | None = None,
        now_unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take where answers come from; ``facts`` is what ingest knows of hosts."""
        self._store = store
        self._latest = latest
        self._connected = connected
        self._facts = facts or (lambda: lambda _: HostFacts())
        self._now_unix_ns = now_unix_ns

    def list_hosts(self, request: pb.ListHostsRequest) -> pb.ListHostsResponse:
        try:
            limit = page_limit(request.page_size)
            after = decode_token(["hosts"], request.page_token, 1)
        except InvalidPage as error:
            raise invalid(str(error)) from None
        last = after[0] if after else -1
        rows = sorted(self._store.hosts(), key=_host_number)
        rows = [row for row in rows if _host_number(row) > last]
        page = rows[:limit]
        counts = self._device_counts({row.host for row in page})
        connected, names, facts = self._connected(), dict(self._latest.hosts()), self._facts()
        hosts = [
            answers.host_message(
                row,
                row.name or names.get(row.host, ""),
                counts.get(row.host, 0),
                last_seen_unix_ns=max(row.last_seen_unix_ns, self._latest.heard_unix_ns(row.host)),
                connected=row.host in connected,
                facts=facts(row.host),
            )
            for row in page
        ]
        key = (_host_number(page[-1]),) if len(rows) > limit else None
        return pb.ListHostsResponse(hosts=hosts, next_page_token=encode_token(["hosts"], key))

    def list_devices(self, request: pb.ListDevicesRequest) -> pb.ListDevicesResponse:
        host = self._host(request.host_id)
        sensors = self._store.sensors(host)
        devices = {device for owner, device in self._store.device_dictionary() if owner == host}
        devices |= {sensor.device for sensor in sensors}
        return pb.ListDevicesResponse(
            devices=[
                answers.device_message(device, [s for s in sensors if s.device == device])
                for device in sorted(devices)
            ],
            absent=[answers.absent_message(absent) for absent in self._store.absent(host)],
        )

    def list_windows(
        self, request: pb.ListWindowsRequest, view: View = EVERYTHING
    ) -> pb.ListWindowsResponse:
        host = self._host(request.host_id)
        end = min(range_end(request), view.ends_by(self._now_unix_ns()))
        if request.resolution_ns < view.finest_ns:
            raise invalid(
                f"resolution_ns: below {view.finest_ns}, the finest that your role may see"
            )
        if request.resolution_ns not in RESOLUTIONS_NS:
            raise invalid("resolution_ns: 0, or 10 s, 1 min, 10 min or 1 h in nanoseconds")
        domain = _member(Domain, "domain", request.domain)
        statistic = _member(Statistic, "statistic", request.statistic)
        device = self._device(host, request.device_id) if request.device_id else None

        def fetch(start: int, rows: int) -> Sequence[DeviceWindow]:
            found = self._store.windows(
                host,
                start,
                end,
                resolution_ns=request.resolution_ns,
                device=device,
                domain=domain,
                statistic=statistic,
                limit=rows,
            )
            return [shielded(window) for window in found] if view.is_shielded else found

        asked = ("windows", host, device, domain, statistic, request.start_unix_ns,
                 request.end_unix_ns, request.resolution_ns)  # fmt: skip
        messages, token = page(request, asked, 9, fetch, window_key, answers.window_message)
        return pb.ListWindowsResponse(windows=messages, next_page_token=token)

    def list_host_seconds(self, request: pb.ListHostSecondsRequest) -> pb.ListHostSecondsResponse:
        host, end = self._host(request.host_id), range_end(request)

        def fetch(start: int, rows: int) -> Sequence[HostSecond]:
            return self._store.host_seconds(host, start, end, limit=rows)

        asked = ("seconds", host, request.start_unix_ns, request.end_unix_ns)
        messages, token = page(request, asked, 2, fetch, second_key, answers.host_second_message)
        return pb.ListHostSecondsResponse(host_seconds=messages, next_page_token=token)

    def list_gaps(self, request: pb.ListGapsRequest) -> pb.ListGapsResponse:
        host, end = self._host(request.host_id), range_end(request)

        def fetch(start: int, rows: int) -> Sequence[Gap]:
            return self._store.gaps(host, start, end, limit=rows)

        asked = ("gaps", host, request.start_unix_ns, request.end_unix_ns)
        messages, token = page(request, asked, 9, fetch, gap_key, answers.gap_message)
        still_open = [] if request.page_token else self._open_gaps(host)
        return pb.ListGapsResponse(
            gaps=messages,
            next_page_token=token,
            open_gaps=[
                gap
                for gap in still_open
                if gap.start_unix_ns < end
                and gap.start_unix_ns + gap.duration_ns > request.start_unix_ns
            ],
        )

    def list_conflicts(self, request: pb.ListConflictsRequest) -> pb.ListConflictsResponse:
        host = self._host(request.host_id) if request.host_id else None
        return pb.ListConflictsResponse(
            conflicts=[
                answers.conflict_message(each)
                for each in self._store.conflicts()
                if host in (None, each.key.host)
            ]
        )

    def get_latest(self, request: pb.GetLatestRequest) -> pb.GetLatestResponse:
        wanted = [self._host(text) for text in request.host_ids]
        response, size = pb.GetLatestResponse(), 0
        for host in wanted or [host for host, _ in self._latest.hosts()]:
            second = self._latest.host_second(host)
            message = pb.LatestHost(
                host_id=host.hex(),
                windows=[answers.window_message(w) for w in self._latest.windows(host)],
                host_second=None if second is None else answers.host_second_message(second),
            )
            size += message.ByteSize()
            if size > MAX_PAGE_BYTES:
                raise Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"host_ids: more than {len(response.hosts)} hosts do not fit one answer; "
                    "name fewer",
                )
            response.hosts.append(message)
        return response

    def _open_gaps(self, host: bytes) -> list[pb.OpenGap]:
        offset_ns = self._facts()(host).clock_offset_ns or 0
        known = next((row for row in self._store.hosts() if row.host == host), None)
        # With a clock that is far ahead its rows bear our time and move no newest state.
        if known is None or offset_ns > AHEAD_NS:
            return []
        second = self._latest.host_second(host)
        now = HostNow(
            self._now_unix_ns(),
            max(known.last_seen_unix_ns, self._latest.heard_unix_ns(host)),
            known.first_seen_unix_ns,
            second.start_unix_ns + second.duration_ns if second else 0,
        )
        store = self._store
        return open_gaps(
            now,
            store.lines(host),
            self._latest.windows(host),
            store.sensors(host),
            store.absent(host),
        )

    def _host(self, text: str) -> bytes:
        if not text:
            raise invalid("host_id: empty; give 32 hex digits or a host's name")
        host = self._latest.resolve(text)
        if host is None:  # one that has said hello, and no more yet
            known = self._store.hosts()
            wanted = (text, text.lower())
            host = next((r.host for r in known if r.name == text or r.host.hex() in wanted), None)
        if host is None:
            raise not_found(f"host_id: no host {text!r} has reported here; ListHosts names them")
        return host

    def _device(self, host: bytes, text: str) -> DeviceId:
        try:
            device = parse_device(text)
        except ValueError as error:
            raise invalid(f"device_id: {error}") from None
        if (host, device) not in self._store.device_dictionary():
            raise not_found(f"device_id: host {host.hex()} has no device {text!r}")
        return device

    def _device_counts(self, hosts: AbstractSet[bytes]) -> dict[bytes, int]:
        counts: dict[bytes, int] = {}
        for owner, _ in self._store.device_dictionary():
            if owner in hosts:
                counts[owner] = counts.get(owner, 0) + 1
        return counts


def _member(enum: type[Member], field: str, number: int) -> Member | None:
    """Return the member that a request's ``field`` asks for; None where it asks for all."""
    try:
        return enum(number) if number else None
    except ValueError:
        raise invalid(f"{field}: {number} is none") from None


def _host_number(row: HostRow) -> int:
    return int.from_bytes(row.host, "big")
