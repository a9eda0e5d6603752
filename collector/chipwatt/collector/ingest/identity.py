"""Which host a stream belongs to: its certificate says so, or on loopback its hello.

A certificate names its host with a SPIFFE id, ``spiffe://<domain>/agent/<host>``
(the URI in its subject alternative name). ``<host>`` is the host's id in 32
hex digits, or any other name, whose BLAKE2b-128 then is the id.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import grpc

_ID_BYTES = 16
_MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Identity:
    """A host and what to call it."""

    host: bytes
    name: str


class StreamRefused(Exception):
    """A stream that is not taken: gRPC status and a sentence."""

    metadata: tuple[tuple[str, bytes], ...] = ()
    """What goes out with the status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def identify(
    auth: Mapping[str, Iterable[bytes]],
    peer: str,
    hello_host: bytes,
    *,
    any_peer: bool = False,
) -> Identity:
    """Return whose stream it is, from gRPC's authentication context and peer address.

    ``any_peer`` believes the hello of any address, for a network without TLS.
    Raises StreamRefused.
    """
    if b"ssl" in auth.get("transport_security_type", ()):
        return _from_certificate(auth)
    if not any_peer and not is_loopback(peer):
        raise StreamRefused(
            grpc.StatusCode.PERMISSION_DENIED,
            "a host that connects over the network needs TLS and a certificate: "
            "set ca, cert and key under [tls] at the agent and at the collector",
        )
    if len(hello_host) != _ID_BYTES:
        raise StreamRefused(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"hello.host_id has {len(hello_host)} bytes, 16 expected",
        )
    return Identity(hello_host, hello_host.hex())


def is_loopback(peer: str) -> bool:
    """Return whether gRPC's name of a peer (``ipv4:127.0.0.1:4711``) is of this machine."""
    family, _, rest = unquote(peer).partition(":")
    if family == "unix":
        return True
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_certificate(auth: Mapping[str, Iterable[bytes]]) -> Identity:
    uris = [uri.decode("ascii", "replace") for uri in auth.get("peer_uri", ())]
    for uri in uris:
        parts = urlsplit(uri)
        folder, _, name = parts.path.removeprefix("/").partition("/")
        if parts.scheme != "spiffe" or not parts.netloc or parts.query or parts.fragment:
            continue
        if folder == "agent" and 0 < len(name) <= _MAX_NAME and "/" not in name:
            return Identity(_id_of(name), name)
    if uris:
        raise StreamRefused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"the certificate is for {', '.join(uris)[:300]}, which is no agent: "
            "an agent's certificate has the URI spiffe://<domain>/agent/<host>",
        )
    raise StreamRefused(
        grpc.StatusCode.UNAUTHENTICATED,
        "the certificate names no host: give it the URI spiffe://<domain>/agent/<host> "
        "as subject alternative name",
    )


def _id_of(name: str) -> bytes:
    try:
        value = bytes.fromhex(name)
    except ValueError:
        value = b""
    if len(value) == _ID_BYTES and len(name) == 2 * _ID_BYTES:
        return value
    return hashlib.blake2b(name.encode(), digest_size=_ID_BYTES).digest()
