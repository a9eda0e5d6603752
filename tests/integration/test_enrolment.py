"""A host comes by its certificate with a token, delivers with it, and renews it by itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from chipwatt.client.channel import RequestRefused, WrongState
from chipwatt.client.enrolment import EnrolmentClient, RenewalClient
from chipwatt.core.authority import Authority, make_request
from chipwatt.core.certificate import Holder, holder_of, read_certificate
from chipwatt.core.errors import CollectorUnreachable
from chipwatt.core.tls import TlsFiles, read
from chipwatt.v1 import query_pb2, query_pb2_grpc
from e2e.faults.bench import free_port
from e2e.programs import PYTHON, Agent, Collector, chipwatt, no_traceback, until

HOST = "00112233445566778899aabbccddeeff"


class Site:
    """An authority, a collector that enrols, and somebody who may look into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "authority"
        root = Authority.create("test.example")
        root.save(self.authority)
        self.ca = self.authority / "ca.pem"
        own = root.issue(Holder("test.example", "collector", "x"), ["127.0.0.1"])
        reader = root.issue(Holder("test.example", "operator", "ann"))
        self.reader = reader.save(folder / "reader")
        files = own.save(folder / "tls")
        self.address = f"127.0.0.1:{free_port()}"
        settings: dict[str, Any] = {
            "tls": {"ca": files.ca, "cert": files.cert, "key": files.key},
            "enrolment": {"authority": self.authority, "listen": self.address},
        }
        self.collector = Collector(folder / "collector", settings=settings)
        part = self.reader
        self.collector.credentials = {"ca": part.ca, "cert": part.cert, "key": part.key}

    def token(self, *args: object) -> str:
        made = chipwatt("certs", "token", HOST, "--dir", self.authority, *args)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def enrol(self, token: str, out: Path) -> subprocess.CompletedProcess[str]:
        command = [PYTHON, "-m", "chipwatt.cli", "certs", "enrol", "--collector", self.address,
                   "--ca", str(self.ca), "--out", str(out)]  # fmt: skip
        return subprocess.run(
            command, input=token, capture_output=True, text=True, timeout=90, check=False
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.collector.stop()


def test_from_a_token_to_delivered_windows_to_a_renewed_certificate(site: Site) -> None:
    token, bundle = site.token(), site.folder / "bundle"
    made = site.enrol(token, bundle)
    assert made.returncode == 0, made.stderr
    files = TlsFiles.in_bundle(bundle)
    assert holder_of(read_certificate(files.cert)) == Holder("test.example", "agent", HOST)
    assert files.key.stat().st_mode & 0o777 == 0o600
    tls = {"ca": files.ca, "cert": files.cert, "key": files.key}
    settings = {"tls": tls, "sensing": {"sources": ["estimate"]}}
    with Agent(site.folder / "agent", site.collector.address, settings) as agent:
        with site.collector.client() as client:
            until(lambda: client.status().host_seconds_stored > 0, 60, "delivery")
            assert [host.host_id for host in client.hosts()] == [HOST]
        before = read(files)
        renewed = chipwatt("certs", "renew", bundle, "--collector", site.collector.address)
        assert renewed.returncode == 0, renewed.stderr
        after = read(files)
        assert (after.ca, after.key != before.key) == (before.ca, True)
        assert holder_of(read_certificate(files.cert)).name == HOST
        until(lambda: "connecting anew" in agent.said(), 60, "the agent takes it up")
        until(lambda: agent.status()["uplink"]["reconnects"] >= 1, 60, "and is connected")
    kept = chipwatt("certs", "renew", bundle, "--collector", site.collector.address,
                    "--within", "30d")  # fmt: skip
    assert (kept.returncode, kept.stdout) == (0, ""), "it lasts longer: nothing is asked"
    assert read(files) == after
    again = site.enrol(token, site.folder / "again")
    assert again.returncode != 0
    assert "unknown, used or expired" in again.stderr
    audit = (site.folder / "collector" / "state" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in audit.splitlines()]
    issued = [line for line in lines if line["event"] == "certificate issued"]
    assert [line["holder"] for line in issued] == [f"spiffe://test.example/agent/{HOST}"] * 2
    by_token, by_certificate = issued
    stranger = {"role": "none", "name": "127.0.0.1", "source": "127.0.0.1", "by": "token"}
    assert by_token.items() >= {**stranger, "token": f"agent/{HOST}"}.items()
    assert by_certificate.items() >= {"role": "agent", "name": HOST, "by": "certificate"}.items()
    (refused,) = [line for line in lines if line["event"] == "enrolment refused"]
    assert refused.items() >= stranger.items(), "who has a token on this machine is no operator"
    secret = token[len("chipwatt-") + 17 :]
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"the token stands in {path}"
    no_traceback(site.collector.said(), again.stderr, agent.said())


def test_what_the_configuration_names_is_renewed_wherever_it_is(site: Site) -> None:
    bundle = site.folder / "bundle"
    assert site.enrol(site.token(), bundle).returncode == 0
    given = TlsFiles.in_bundle(bundle)
    files = TlsFiles(*(site.folder / each for each in ("pki/roots.crt", "pki/node.crt", "own/k")))
    for older, path in ((given.ca, files.ca), (given.cert, files.cert), (given.key, files.key)):
        path.parent.mkdir(exist_ok=True)
        older.rename(path)
    files.key.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(files.key, -1, 4242)
    before, group = read(files), files.key.stat().st_gid
    config = site.folder / "agent.toml"
    config.write_text(
        f'collector = "{site.collector.address}"\n[tls]\nca = "{files.ca}"\n'
        f'cert = "{files.cert}"\nkey = "{files.key}"\n'
    )
    trusted = files.ca.stat()
    kept = chipwatt("certs", "renew", "--config", config, "--within", "30d")
    assert (kept.returncode, kept.stdout, read(files)) == (0, "", before), kept.stderr
    renewed = chipwatt("certs", "renew", "--config", config)
    assert renewed.returncode == 0, renewed.stderr
    assert renewed.stdout.startswith(f"{files.cert}, {files.key}: for spiffe://test.example/agent")
    after = read(files)
    assert after.key != before.key
    assert holder_of(read_certificate(files.cert)).name == HOST
    assert files.ca.stat() == trusted, "whom to trust is not touched"
    assert (files.key.stat().st_gid, files.key.stat().st_mode & 0o777) == (group, 0o640)
    found = {path for folder in ("pki", "own") for path in (site.folder / folder).iterdir()}
    assert found == {files.ca, files.cert, files.key}, "and nothing else lies there"


def test_only_enrolment_is_served_where_nobody_shows_a_certificate(site: Site) -> None:
    credentials = grpc.ssl_channel_credentials(site.ca.read_bytes())
    with grpc.secure_channel(site.address, credentials) as channel:
        query = query_pb2_grpc.QueryServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            query.ListHosts(query_pb2.ListHostsRequest(), timeout=10)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    _, request = make_request()
    with (
        EnrolmentClient(site.collector.address, site.ca, timeout_s=3) as client,
        pytest.raises(CollectorUnreachable),
    ):
        client.enrol("chipwatt-x", request)


def test_a_request_that_is_none_does_not_use_the_token_up(site: Site) -> None:
    token = site.token()
    _, request = make_request()
    with EnrolmentClient(site.address, site.ca) as client:
        for bad in (b"", b"x" * 100, request[:-1] + bytes([request[-1] ^ 1]), bytes(5000)):
            with pytest.raises(RequestRefused, match=r"^request: "):
                client.enrol(token, bad)
        for other in ("", "x", token[:-1], token + "x"):
            with pytest.raises(RequestRefused, match="unknown, used or expired"):
                client.enrol(other, request)
        certificate, authority = client.enrol(token, request)
    assert authority == site.ca.read_bytes()
    assert certificate.startswith(b"-----BEGIN CERTIFICATE-----")


def test_an_expired_token_and_a_foreign_collector_are_refused(site: Site) -> None:
    token = site.token("--expires", "0s")
    out = site.folder / "bundle"
    assert "unknown, used or expired" in site.enrol(token, out).stderr
    other = Authority.create("test.example")
    (site.folder / "foreign.pem").write_bytes(other.pem)
    site.ca = site.folder / "foreign.pem"
    fresh = site.token()
    refused = site.enrol(fresh, out)
    assert refused.returncode == CollectorUnreachable.exit_code
    assert "TLS handshake failed" in refused.stderr
    assert not out.exists()
    assert any((site.authority / "tokens").iterdir()), "a foreign collector never saw it"


def test_a_collector_without_an_authority_says_so(tmp_path: Path) -> None:
    with Collector(tmp_path / "plain") as collector, RenewalClient(collector.address) as client:
        with pytest.raises(WrongState, match="has no authority"):
            client.renew(b"")
        assert os.listdir(tmp_path / "plain" / "state")  # noqa: PTH208


def test_enrolment_without_tls_does_not_start(tmp_path: Path) -> None:
    result = chipwatt("collector", "--check", "--config", _toml(tmp_path))
    assert result.returncode == 78
    assert "a token is sent over TLS alone" in result.stderr


def _toml(folder: Path) -> Path:
    file = folder / "collector.toml"
    file.write_text('[enrolment]\nlisten = "127.0.0.1:0"\nauthority = "/no"\n')
    return file
