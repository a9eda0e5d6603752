"""``[otlp]``: where metrics go and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration

DEFAULT_PORT = 4317
STARTS = ("newest", "oldest")
COMPRESSIONS = ("gzip", "none")
_INTERVAL = Duration(60 * NS_PER_S)
_SETTLE = Duration(30 * NS_PER_S)
_TIMEOUT = Duration(10 * NS_PER_S)


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """``[otlp]``."""

    endpoint: str = ""
    """OTLP/gRPC receiver, "http://host:4317" or "https://host:4317" (TLS); empty: no export."""
    interval: Duration = _INTERVAL
    """One point a series in this time. Below 60 s more leaves than confidential egress grants."""
    settle: Duration = _SETTLE
    """How long after an interval's end to wait for windows that are still on their way."""
    timeout: Duration = _TIMEOUT
    """Longest wait for the answer to one request before it is sent again."""
    start: str = "newest"
    """Where the very first export begins: "newest" (what comes from now on) or "oldest"."""
    compression: str = "gzip"
    """"gzip" or "none"."""
    headers: tuple[str, ...] = ()
    """Sent with each request, "name=value", for example an API key."""
    tls_ca: Path | None = None
    """PEM file of the authority that signed the receiver's certificate; not set: the system's."""
    namespace: str = ""
    """service.namespace of every resource; empty: left out."""

    def __post_init__(self) -> None:
        if self.endpoint:
            self.target()
        if self.interval < NS_PER_S:
            raise ValueError("interval is shorter than 1s")
        if self.settle < 0 or self.timeout <= 0:
            raise ValueError("timeout is not above 0")
        if self.start not in STARTS:
            raise ValueError(f"start {self.start!r} is none of {', '.join(STARTS)}")
        if self.compression not in COMPRESSIONS:
            raise ValueError(
                f"compression {self.compression!r} is none of {', '.join(COMPRESSIONS)}"
            )
        if self.tls_ca is not None and self.endpoint and not self.is_tls():
            raise ValueError("tls_ca is set, but the endpoint does not begin with https://")
        self.metadata()

    def is_tls(self) -> bool:
        """Return whether the endpoint asks for TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    def target(self) -> str:
        """Return the endpoint as grpc dials it; raises ValueError where it is none."""
        url = urlsplit(self.endpoint)
        try:
            host, port = url.hostname, url.port or DEFAULT_PORT
        except ValueError as error:
            raise ValueError(f"endpoint {self.endpoint!r}: {error}") from None
        if url.scheme not in ("http", "https") or not host or url.path not in ("", "/"):
            raise ValueError(
                f'endpoint {self.endpoint!r} is not of the form "http://host:{DEFAULT_PORT}"'
            )
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

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
            pairs.append((name, value.strip()))
        return tuple(pairs)
