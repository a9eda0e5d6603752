"""What stands in a certificate: whom it is for, where that one is reached.

Needs the package ``cryptography``, as ``authority`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chipwatt.core.errors import CertificateError

ROLES = ("agent", "collector", "placement", "egress", "operator")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a certificate is for."""

    domain: str
    role: str
    name: str

    def __post_init__(self) -> None:
        """Refuse what makes no SPIFFE id; raises CertificateError."""
        if self.role not in ROLES:
            raise CertificateError(f"{self.role!r} is no role; roles are {', '.join(ROLES)}")
        if not _NAME.fullmatch(self.name):
            raise CertificateError(
                f"{self.name!r} is no name for a certificate: 1 to 253 of a-z, 0-9, '.', '-', '_'"
            )

    @property
    def uri(self) -> str:
        return f"spiffe://{self.domain}/{self.role}/{self.name}"


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file; raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(read_file(path))
    except ValueError:
        raise CertificateError(f"{path}: no certificate in PEM form") from None


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return it as it stands in a file."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def uris(certificate: x509.Certificate) -> Sequence[str]:
    """Return the URIs of the subject alternative name."""
    return _names(certificate, x509.UniformResourceIdentifier)


def addresses(certificate: x509.Certificate) -> Sequence[str]:
    """Return its host names and IP addresses."""
    return [*_names(certificate, x509.DNSName), *map(str, _names(certificate, x509.IPAddress))]


def holder_of(certificate: x509.Certificate) -> Holder:
    """Return whom it names; raises CertificateError where that is nobody of ours."""
    return holder_in(uris(certificate))


def holder_in(ids: Iterable[str]) -> Holder:
    """Return whom the first SPIFFE id of ours among ``ids`` names; raises CertificateError."""
    for uri in ids:
        domain, _, path = uri.removeprefix("spiffe://").partition("/")
        role, _, name = path.partition("/")
        if uri.startswith("spiffe://") and role in ROLES:
            return Holder(domain, role, name)
    raise CertificateError("the certificate names nobody by spiffe://<domain>/<role>/<name>")


def read_file(path: Path) -> bytes:
    """Return a file's bytes; raises CertificateError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None


def _names(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found.value if isinstance(name, kind)]
