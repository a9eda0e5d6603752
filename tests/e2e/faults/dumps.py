"""What is on the disks of agent and collector, as plain values for the reference ledger."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing
from pathlib import Path

from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.spool import Spool
from chipwatt.client import CollectorClient
from chipwatt.core.records import DeviceWindow
from e2e.faults import reference

_PAIR = struct.Struct("<QQ")
_ENTRY = struct.Struct("<IQ16s")


def spooled(directory: Path) -> list[Spooled]:
    """Return the records that wait in a spool, from a copy; no matter whether an agent has it."""
    if not directory.exists():
        return []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "spool"
        _copy_living(directory, copy)
        spool = Spool(copy, bytes(16), sync=lambda _: None)
        found: list[Spooled] = []
        position = spool.cursor
        while records := spool.read_from(position, 1 << 20):
            found += records
            position = records[-1].position
        spool.close()
    return found


def _copy_living(directory: Path, copy: Path) -> None:
    """Copy the cursor first: segments only leave once it has passed them."""
    copy.mkdir()
    for path in sorted(directory.iterdir(), key=lambda path: (path.name != "cursor", path.name)):
        try:
            if path.is_file() and path.name != "lock":
                shutil.copyfile(path, copy / path.name)
        except FileNotFoundError:
            continue


def keys(host: bytes, records: list[Spooled]) -> set[reference.Key]:
    """Return the keys that records stand for, merged ones for several."""
    return {
        (host, record.boot_id, record.epoch, sequence)
        for record in records
        for sequence in range(record.sequence - record.records + 1, record.sequence + 1)
    }


def stored(store: Path) -> set[reference.Key]:
    """Return the keys of every record in a store, straight from its catalogue."""
    path = store / "catalogue.sqlite"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
        database.execute("BEGIN")
        streams = {
            number: (host, boot, int.from_bytes(epoch))
            for number, host, boot, epoch in database.execute(
                "SELECT id, host, boot, spool_epoch FROM stream"
            )
        }
        found = {
            (*streams[number], sequence)
            for number, seen in database.execute("SELECT id, seen FROM stream")
            for first, last in _PAIR.iter_unpack(seen)
            for sequence in range(first, last + 1)
        }
        for (entries,) in database.execute("SELECT entries FROM receipt"):
            found |= {(*streams[entry[0]], entry[1]) for entry in _ENTRY.iter_unpack(entries)}
    return found


def windows(client: CollectorClient) -> list[reference.Window]:
    """Return every stored window."""
    return [
        plain(host.host_id, window)
        for host in list(client.hosts())
        for window in client.windows(host.host_id)
    ]


def plain(host: str, window: DeviceWindow) -> reference.Window:
    return reference.Window(
        _counter(host, window),
        window.start_mono_ns,
        window.start_mono_ns + window.duration_ns,
        window.epoch,
        window.energy_uj,
        window.cumulative_uj,
    )


def gaps(client: CollectorClient) -> list[reference.Gap]:
    """Return every stored gap."""
    return [
        reference.Gap(_counter(host.host_id, gap), gap.lower_uj, gap.upper_uj)
        for host in list(client.hosts())
        for gap in client.gaps(host.host_id)
    ]


def _counter(host: str, row: object) -> str:
    device, domain, statistic = (getattr(row, name) for name in ("device", "domain", "statistic"))
    return f"{host} {device} {domain.name.lower()} {statistic.name.lower()}"
