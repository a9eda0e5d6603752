"""Certificates that are replaced under a collector that runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient, channel
from chipwatt.collector.config import TlsConfig
from chipwatt.collector.listening import trust_domain
from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.errors import ChipwattError, CollectorUnreachable
from chipwatt.core.tls import TlsFiles
from unit.collector.test_server import ask, settings

ADAPTER_THREADS = 32
"""As many as its HTTP server has, on one client."""


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


def test_a_connection_carries_what_all_threads_of_an_adapter_ask_at_once(tmp_path: Path) -> None:
    def question(address: str) -> list[int]:
        with CollectorClient(address) as client, ThreadPoolExecutor(ADAPTER_THREADS) as pool:
            asked = [pool.submit(client.status) for _ in range(10 * ADAPTER_THREADS)]
            return [each.result().batches_stored for each in asked]

    assert ask(settings(tmp_path), question) == [0] * 10 * ADAPTER_THREADS


def test_who_is_of_another_domain_of_the_same_authority_is_nobody(tmp_path: Path) -> None:
    authority = Authority.create("test.example")
    ours = authority.issue(Holder("test.example", "collector", "x"), ["127.0.0.1"])
    ours.save(tmp_path / "ours")
    files = TlsFiles.in_bundle(tmp_path / "ours")

    def question(domain: str) -> Callable[[str], int]:
        authority.issue(Holder(domain, "operator", "x")).save(tmp_path / domain)
        mine = TlsFiles.in_bundle(tmp_path / domain)

        def asked(address: str) -> int:
            reader = CollectorClient(address, ca=mine.ca, cert=mine.cert, key=mine.key)
            with reader as client:
                return client.status().connected

        return asked

    config = replace(settings(tmp_path), tls=TlsConfig(files.ca, files.cert, files.key))
    assert ask(config, question("test.example")) == 0
    with pytest.raises(ChipwattError, match="names no role"):
        ask(config, question("other.example"))
    assert trust_domain(TlsConfig()) == ""
