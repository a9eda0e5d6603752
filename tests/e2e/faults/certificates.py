"""Row 17: certificates that expire, are renewed, change their authority."""

from __future__ import annotations

import datetime
import ipaddress
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chipwatt.cli import toml
from e2e.faults.bench import Bench
from e2e.faults.net import drained
from e2e.faults.rows import Case, Counts, row
from e2e.programs import until
from fakes.relay import Relay

_DAY_S = 86_400
_NOTICED = "certificates were replaced; connecting anew"


class Authority:
    """Signs for both sides, whose files it writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.trusted: list[bytes] = []
        self.renew()

    def renew(self, keep: int = 0) -> None:
        """Become another authority; of the older ones the newest ``keep`` stay trusted."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca {time.time_ns()}")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self._name, self._key, _DAY_S).add_extension(constraints, True)
        root = built.sign(self._key, hashes.SHA256())
        pem = root.public_bytes(serialization.Encoding.PEM)
        self.trusted = [pem, *self.trusted[:keep]]
        (self._folder / "ca.pem").write_bytes(b"".join(self.trusted))

    def forget(self) -> None:
        """Trust no older authority any more."""
        self.trusted = self.trusted[:1]
        (self._folder / "ca.pem").write_bytes(b"".join(self.trusted))

    def issue(self, name: str, identity: x509.GeneralName, lasts_s: int = _DAY_S) -> dict[str, str]:
        """Sign a certificate in place of ``name``'s last one; returns it as a ``[tls]`` table."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([identity])
        built = self._builder(subject, key, lasts_s).add_extension(names, False)
        signed = built.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        for file, content in (
            (f"{name}.key", key.private_bytes(pem, *plain)),
            (f"{name}.pem", signed.public_bytes(pem)),
        ):
            (self._folder / file).write_bytes(content)
        files = {"ca": "ca.pem", "cert": f"{name}.pem", "key": f"{name}.key"}
        return {part: str(self._folder / file) for part, file in files.items()}

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lasts_s: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(seconds=lasts_s))
        )


class Secured(Bench):
    """A bench whose two programs speak TLS, and know each other by certificates alone."""

    def __init__(self, case: Case) -> None:
        self.authority = Authority(case.folder / "tls")
        super().__init__(case, settings={"tls": self.issue_collector()})
        own = self.issue_agent()
        self.host.settings = toml.merged(self.host.settings, {"tls": own})
        self.issue_reader()

    def issue_collector(self) -> dict[str, str]:
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return self.authority.issue("collector", loopback)

    def issue_agent(self, lasts_s: int = _DAY_S) -> dict[str, str]:
        uri = f"spiffe://test.example/agent/{self.host.id.hex()}"
        return self.authority.issue("agent", x509.UniformResourceIdentifier(uri), lasts_s)

    def issue_reader(self) -> None:
        uri = x509.UniformResourceIdentifier("spiffe://test.example/operator/reader")
        made = self.authority.issue("reader", uri)
        self.credentials = {part: Path(path) for part, path in made.items()}


def _begin(bench: Secured, address: str) -> None:
    bench.start_collector()
    bench.host.start(address)
    until(lambda: bench.status().device_windows_stored > 1, 30, "the first second")
    bench.host.play()


@row(17, "agent's certificate expires, then is renewed on disk")
def expiry(case: Case) -> Counts:
    lasts_s = 12
    with Secured(case) as bench, Relay(bench.address) as relay:
        _begin(bench, relay.address)
        host = bench.host
        began_s = time.monotonic()
        _renew_agent(bench, lasts_s)
        time.sleep(max(0.0, lasts_s + 1 - (time.monotonic() - began_s)))
        relay.cut()
        relay.mend()
        until(lambda: not host.running.status()["uplink"]["connected"], 20, "it is refused")
        until(lambda: host.running.status()["spool"]["unacked"] >= 3, 20, "it keeps its records")
        host.look()
        bench.issue_agent()
        drained(host)
        return bench.finish()


@row(17, "rotation: both sides renewed, the authority changed, the older trusted for a while")
def rotation(case: Case) -> Counts:
    runs = case.pick(1, 8)
    with Secured(case) as bench:
        _begin(bench, bench.address)
        host = bench.host
        for _ in range(runs):
            bench.authority.renew(keep=1)
            # The collector's own certificate comes first, while agents still have older ones.
            bench.issue_collector()
            bench.issue_reader()
            bench.kill_collector()
            bench.start_collector()
            bench.more(1)
            bench.issue_agent()
            bench.kill_collector()
            bench.start_collector()
            bench.more(2)
            host.look()
        return bench.finish(runs)


@row(
    17, "rotation while everything runs: certificates, then the authority, then the older one goes"
)
def hot(case: Case) -> Counts:
    runs = case.pick(1, 8)
    with Secured(case) as bench:
        _begin(bench, bench.address)
        pids = bench.running.pid, bench.host.running.pid
        for _ in range(runs):
            _renew_all(bench)
            bench.authority.renew(keep=1)  # both are trusted, and each side changes when it may
            _renew_all(bench)
            bench.authority.forget()
            _renew_all(bench)
            bench.host.look()
        assert pids == (bench.running.pid, bench.host.running.pid), "nothing was started again"
        assert bench.running.process.poll() is None
        return bench.finish(runs)


def _renew_all(bench: Secured) -> None:
    """Replace everybody's files; return once the agent delivers over a new connection."""
    bench.issue_collector()
    bench.issue_reader()
    _renew_agent(bench)
    bench.more(1)


def _renew_agent(bench: Secured, lasts_s: int = _DAY_S) -> None:
    """Replace the agent's certificate; return once it noticed and is connected again."""
    said = bench.host.running.said
    count = said().count(_NOTICED)
    bench.issue_agent(lasts_s)
    until(lambda: said().count(_NOTICED) > count, 30, "the agent notices its new certificate")
    until(lambda: bench.host.running.status()["uplink"]["connected"], 30, "it connects anew")


@row(17, "authority changed under an agent that is not renewed: refused, nothing lost")
def stranger(case: Case) -> Counts:
    with Secured(case) as bench:
        _begin(bench, bench.address)
        host = bench.host
        bench.authority.renew()
        bench.issue_collector()
        bench.issue_reader()
        bench.kill_collector()
        bench.start_collector()
        until(lambda: host.running.status()["spool"]["unacked"] >= case.pick(3, 30), 60, "backlog")
        assert not host.running.status()["uplink"]["connected"]
        host.look()
        bench.issue_agent()
        drained(host)
        return bench.finish()
