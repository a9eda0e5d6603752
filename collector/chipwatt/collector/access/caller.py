"""Who calls: a role and a name, from the certificate shown, or from being on this machine.

A certificate says both with a SPIFFE id, ``spiffe://<domain>/<role>/<name>``,
the URI in its subject alternative name. Of an agent, ``<name>`` is its host: the
host's id in 32 hex digits, or any other name, whose BLAKE2b-128 then is the id.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc.aio

from chipwatt.collector.access.role import Role
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError

_HOST_BYTES = 16
_MAX_NAME = 253
_GRANTED = frozenset(Role) - {Role.NONE}
_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
NO_ROLE = (
    "the certificate names no role: give it the URI spiffe://<domain>/<role>/<name> as subject "
    f"alternative name, role one of {', '.join(sorted(_GRANTED))}"
)
NO_CERTIFICATE = (
    "who connects over the network needs TLS and a certificate: set ca, cert and key under [tls] "
    "on both sides"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody on the other end of a connection."""

    role: Role
    name: str
    """From the certificate; without one, where the connection comes from."""
    host: bytes | None = None
    """The 16-byte id of an agent's host."""
    has_certificate: bool = True
    """Without one a peer is whoever it says: it may act as an agent too."""
    not_after_unix_ns: int | None = None
    """The last moment of its certificate."""
    source: str = "unix"
    """Address that it calls from, without the port."""

    @property
    def roles(self) -> frozenset[Role]:
        """Every role that it may act in."""
        if self.has_certificate or self.role is Role.NONE:
            return frozenset({self.role})
        return frozenset({self.role, Role.AGENT})

    def is_expired(self, unix_ns: int) -> bool:
        """Return whether its certificate has ended by ``unix_ns``."""
        return self.not_after_unix_ns is not None and unix_ns > self.not_after_unix_ns


_current: ContextVar[Caller] = ContextVar("caller")


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """Return who makes the call that a servicer answers, in the servicer's own task."""
    return _current.get(None) or read_caller(context.auth_context(), context.peer())


def remember(caller: Caller) -> None:
    """Let ``caller_of`` give this one for the rest of the task."""
    _current.set(caller)


def read_caller(
    auth: Mapping[str, Iterable[bytes]],
    peer: str,
    *,
    any_peer: bool = False,
    trust_domain: str = "",
) -> Caller:
    """Read gRPC's authentication context and peer address; role NONE for whom we do not know.

    ``any_peer`` takes everybody for an operator of this machine, for a network without TLS;
    ids of another ``trust_domain`` name nobody here, unless it is empty.
    """
    source = source_of(peer)
    if b"ssl" not in auth.get("transport_security_type", ()):
        trusted = any_peer or is_local(source)
        return Caller(
            Role.OPERATOR if trusted else Role.NONE, source, has_certificate=False, source=source
        )
    pem = b"".join(auth.get("x509_pem_cert", ()))
    not_after = _not_after_unix_ns(pem) if pem else None
    ids = [uri for uri in auth.get("peer_uri", ()) if uri[:7].lower() == b"spiffe:"]
    # Two ids would let one certificate be two callers at once, also where one of them is no good.
    found = _spiffe(ids[0], trust_domain) if len(ids) == 1 else None
    role, name = found or (Role.NONE, "")
    host = host_id(name) if role is Role.AGENT else None
    return Caller(role, name, host, not_after_unix_ns=not_after, source=source)


def source_of(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as ``ipv4:127.0.0.1:4711``."""
    family, _, rest = unquote(peer).partition(":")
    return "unix" if family == "unix" else rest.rpartition(":")[0].strip("[]")


def is_local(source: str) -> bool:
    """Return whether an address is of this machine."""
    try:
        return source == "unix" or ipaddress.ip_address(source).is_loopback
    except ValueError:
        return False


def host_id(name: str) -> bytes:
    """Return the host id that an agent's name stands for."""
    try:
        value = bytes.fromhex(name)
    except ValueError:
        value = b""
    if len(value) == _HOST_BYTES and len(name) == 2 * _HOST_BYTES:
        return value
    return hashlib.blake2b(name.encode(), digest_size=_HOST_BYTES).digest()


def _spiffe(uri: bytes, trust_domain: str) -> tuple[Role, str] | None:
    try:
        parts = urlsplit(uri.decode("ascii"))
    except ValueError:
        return None
    role, _, name = parts.path.removeprefix("/").partition("/")
    if not _DOMAIN.fullmatch(parts.netloc) or parts.query or parts.fragment:
        return None
    if trust_domain and parts.netloc != trust_domain:
        return None
    if role not in _GRANTED or not 0 < len(name) <= _MAX_NAME or "/" in name:
        return None
    return Role(role), name


def need_certificates() -> None:
    """Make sure that certificates can be read. Raises ConfigError."""
    try:
        import cryptography.x509  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError(
            "[tls] needs the Python package cryptography: run pip install 'chipwatt[collector]'"
        ) from None


@functools.lru_cache(maxsize=4096)
def _not_after_unix_ns(pem: bytes) -> int:
    # Only a collector with TLS needs it, and it takes 10 MiB.
    from cryptography import x509

    ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    return int(ends.timestamp()) * NS_PER_S
