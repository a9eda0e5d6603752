"""Certificates that are replaced under a collector that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient, channel
from chipwatt.collector.config import TlsConfig
from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.errors import CollectorUnreachable
from chipwatt.core.tls import TlsFiles
from unit.collector.test_server import ask, settings


def test_renewed_certificates_serve_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_LOOK_EVERY_S", 0)
    older, newer = (Authority.create("test.example") for _ in range(2))
    ours, theirs = tmp_path / "collector", tmp_path / "reader"

    def issue(authority: Authority, trusted: bytes = b"") -> None:
        for role, folder in (("collector", ours), ("operator", theirs)):
            issued = authority.issue(Holder("test.example", role, "x"), ["127.0.0.1"])
            replace(issued, ca=issued.ca + trusted).save(folder)

    issue(older)
    files, mine = TlsFiles.in_bundle(ours), TlsFiles.in_bundle(theirs)

    def question(address: str) -> int:
        reader = CollectorClient(address, ca=mine.ca, cert=mine.cert, key=mine.key)
        with reader as client:
            client.status()
            issue(newer)
            client.status()
            leftover = older.issue(Holder("test.example", "operator", "x")).save(tmp_path / "old")
            with (
                CollectorClient(
                    address, timeout_s=3, ca=mine.ca, cert=leftover.cert, key=leftover.key
                ) as late,
                pytest.raises(CollectorUnreachable),
            ):
                late.status()
            issue(older, newer.pem)
            return client.status().batches_stored

    tls = TlsConfig(files.ca, files.cert, files.key)
    assert ask(replace(settings(tmp_path), tls=tls), question) == 0
