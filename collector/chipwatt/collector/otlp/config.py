"""``[otlp]``: where metrics go and how."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration

GRPC, HTTP = "grpc", "http/protobuf"
PROTOCOLS = (GRPC, HTTP)
GRPC_PORT, HTTP_PORT = 4317, 4318
HTTP_PATH = "/v1/metrics"
STARTS = ("newest", "oldest")
COMPRESSIONS = ("gzip", "none")
OWN_HEADERS = (
    "connection", "content-encoding", "content-length", "content-type", "host", "te",
    "transfer-encoding", "user-agent",
)  # fmt: skip
"""Said by the exporter itself: said twice they would mean nothing, or something else."""
_INTERVAL = Duration(60 * NS_PER_S)
_SETTLE = Duration(30 * NS_PER_S)
_TIMEOUT = Duration(10 * NS_PER_S)


@dataclass(frozen=True, slots=True)
class Receiver:
    """One OTLP receiver."""

    endpoint: str = ""
    """OTLP receiver, "http://host:4317" or "https://host:4317" (TLS); with protocol "http/protobuf"
    a URL, whose path is "/v1/metrics" where it has none. Empty: no export."""
    protocol: str = GRPC
    """"grpc" or "http/protobuf"."""
    timeout: Duration = _TIMEOUT
    """Longest wait for the answer to one request before it is sent again; a receiver that proves
    slower is given up to six times as long."""
    compression: str = "gzip"
    """"gzip" or "none"."""
    headers: tuple[str, ...] = ()
    """Sent with each request, "name=value", for example an API key."""
    tls_ca: Path | None = None
    """PEM file of the authority that signed the receiver's certificate; not set: the system's."""
    tls_cert: Path | None = None
    """PEM file of a certificate to show to the receiver."""
    tls_key: Path | None = None
    """PEM file of that certificate's private key."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError."""
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol {self.protocol!r} is none of {', '.join(PROTOCOLS)}")
        if self.endpoint:
            self.address()
        if self.timeout <= 0:
            raise ValueError("timeout is not above 0")
        if self.compression not in COMPRESSIONS:
            raise ValueError(
                f"compression {self.compression!r} is none of {', '.join(COMPRESSIONS)}"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both or none")
        is_tls_set = self.tls_ca is not None or self.tls_cert is not None
        if is_tls_set and self.endpoint and not self.is_tls():
            name = "tls_cert" if self.tls_ca is None else "tls_ca"
            raise ValueError(f"{name} is set, but the endpoint does not begin with https://")
        self.metadata()

    def is_tls(self) -> bool:
        """Return whether the endpoint asks for TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    def address(self) -> tuple[str, int]:
        """Return host and port; raises ValueError where the endpoint is no endpoint."""
        is_http = self.protocol == HTTP
        likely = f"http://host:{HTTP_PORT}{HTTP_PATH}" if is_http else f"http://host:{GRPC_PORT}"
        try:
            url = urlsplit(self.endpoint)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise ValueError(f"endpoint {self.endpoint!r}: {error}") from None
        is_plain = self.endpoint.isascii() and self.endpoint.isprintable()
        is_clean = is_plain and " " not in self.endpoint and not url.fragment and not url.username
        if url.scheme not in ("http", "https") or not host or not is_clean:
            raise ValueError(f'endpoint {self.endpoint!r} is not of the form "{likely}"')
        if not is_http and (url.path not in ("", "/") or url.query):
            raise ValueError(f'endpoint {self.endpoint!r} is not of the form "{likely}"')
        return host, port or self._default_port(url)

    def _default_port(self, url: SplitResult) -> int:
        if self.protocol == GRPC:
            return GRPC_PORT
        if url.path in ("", "/"):
            return HTTP_PORT
        return 443 if url.scheme == "https" else 80  # a whole URL, as services publish theirs

    def target(self) -> str:
        """Return the endpoint as grpc dials it; raises ValueError where it is none."""
        host, port = self.address()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def path(self) -> str:
        """Return what HTTP asks for, query included."""
        url = urlsplit(self.endpoint)
        path = HTTP_PATH if url.path in ("", "/") else url.path
        return f"{path}?{url.query}" if url.query else path

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the headers as grpc takes them; raises ValueError where one is no pair."""
        pairs = []
        for header in self.headers:
            name, equals, value = header.partition("=")
            name = name.strip().lower()
            plain = name.replace("-", "").replace("_", "").replace(".", "")
            if not equals or not (plain.isascii() and plain.isalnum()):
                raise ValueError("headers: each is \"name=value\", the name of a-z, 0-9, '-_.'")
            if not (value.isascii() and value.isprintable()) or name.startswith("grpc-"):
                raise ValueError(f"headers: {name!r} cannot be sent")
            if name in OWN_HEADERS:
                raise ValueError(f"headers: {name!r} is the exporter's own, leave it out")
            pairs.append((name, value.strip()))
        return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Destination(Receiver):
    """One of ``[[otlp.destination]]``."""

    name: str = ""
    """What its place in the store is kept under: a new name begins anew. Of a-z, 0-9, "-"."""


@dataclass(frozen=True, slots=True)
class OtlpConfig(Receiver):
    """``[otlp]``; its own endpoint is a destination without a name."""

    interval: Duration = _INTERVAL
    """One point a series in this time. Whole minutes, unless privacy.egress is "operator"."""
    settle: Duration = _SETTLE
    """How long after an interval's end to wait for windows that are still on their way."""
    start: str = "newest"
    """Where the very first export begins: "newest" (what comes from now on) or "oldest"."""
    namespace: str = ""
    """service.namespace of every resource; empty: left out."""
    destination: tuple[Destination, ...] = ()
    """Further receivers, each with a name and the keys from endpoint to tls_key; none waits for
    another."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError."""
        Receiver.__post_init__(self)
        if self.interval < NS_PER_S:
            raise ValueError("interval is shorter than 1s")
        if self.settle < 0:
            raise ValueError("settle is below 0")
        if self.start not in STARTS:
            raise ValueError(f"start {self.start!r} is none of {', '.join(STARTS)}")
        names = [each.name for each in self.destination]
        for each in self.destination:
            plain = each.name.replace("-", "")
            is_name = plain.isascii() and plain.isalnum() and plain == plain.lower()
            if not is_name or names.count(each.name) > 1:
                raise ValueError(
                    f"destination: the name {each.name!r} is taken or not of a-z, 0-9, '-'"
                )
            if not each.endpoint:
                raise ValueError(f"destination {each.name!r} has no endpoint")

    def destinations(self) -> tuple[Destination, ...]:
        """Return every receiver that is set."""
        if not self.endpoint:
            return self.destination
        own = {field.name: getattr(self, field.name) for field in fields(Receiver)}
        return (Destination(**own), *self.destination)
