"""A certificate authority of one's own: makes its root and signs for every role.

Needs the package ``cryptography``, which only those import that make certificates;
to use them takes gRPC alone. Keys are ECDSA P-256. A certificate names its holder
with the SPIFFE id ``spiffe://<domain>/<role>/<name>`` as URI, and, for a collector,
with the addresses at which it is reached.
"""

from __future__ import annotations

import datetime
import errno
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chipwatt.core.certificate import Holder, pem_of, read_certificate, read_file, uris
from chipwatt.core.durable import replace_keeping_group
from chipwatt.core.errors import CertificateError
from chipwatt.core.key_pair import replace_pair
from chipwatt.core.tls import Material, TlsFiles

ROOT_DAYS = 3650
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9.-]{0,252})")
_SKEW = datetime.timedelta(minutes=5)
"""So far a clock may be behind the authority's and take a fresh certificate all the same."""
_COMMON_NAME_CHARS = 64
"""Most that X.520 allows; the name that counts is the URI."""
_PEM = serialization.Encoding.PEM


class Authority:
    """Holds the root's key; in a folder it is ``ca.pem`` and, for its owner only, ``ca.key``."""

    def __init__(self, root: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._root = root
        self._key = key

    @classmethod
    def create(cls, domain: str, days: int = ROOT_DAYS) -> Self:
        """Make a new root for ``domain``; raises CertificateError where that is none."""
        if not _DOMAIN.fullmatch(domain):
            raise CertificateError(f"{domain!r} is no domain: lower-case letters, digits, '.', '-'")
        key = ec.generate_private_key(ec.SECP256R1())
        # Two roots of one domain may be trusted at once: they need names of their own.
        mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        name = _common_name(f"chipwatt authority {mark.digest.hex()[:8]} {domain}")
        root = (
            _builder(name, name, key.public_key(), _after(days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]),
                critical=False,
            )
            .add_extension(mark, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(root, key)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; raises CertificateError that names the file."""
        root = read_certificate(folder / "ca.pem")
        path = folder / "ca.key"
        try:
            key = serialization.load_pem_private_key(read_file(path), password=None)
        except (TypeError, ValueError):
            raise CertificateError(f"{path}: no unencrypted private key in PEM form") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
            raise CertificateError(f"{path}: not the key of {folder / 'ca.pem'}")
        return cls(root, key)

    def save(self, folder: Path) -> None:
        """Write certificate and key. Raises CertificateError, also where there is one already."""
        if (folder / "ca.key").exists():
            raise CertificateError(
                f"{folder}: an authority is kept here already; its certificates would be worth "
                "nothing with another: name another folder with --dir"
            )
        contents = (("ca.key", _key_pem(self._key), 0o600), ("ca.pem", self.pem, 0o644))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, content, mode in contents:
                replace_keeping_group(folder / name, content, mode=mode)
        except OSError as error:
            raise _unwritten(folder, error) from None

    @property
    def pem(self) -> bytes:
        """The root certificate."""
        return pem_of(self._root)

    @property
    def domain(self) -> str:
        """Trust domain of every certificate that it signs."""
        for uri in uris(self._root):
            return uri.removeprefix("spiffe://")
        raise CertificateError("the authority's certificate names no trust domain")

    def issue(self, holder: Holder, addresses: Iterable[str] = (), days: int = 90) -> Issued:
        """Make a key and sign for it; raises CertificateError."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self.sign(key.public_key(), holder, addresses, days)
        return Issued(self.pem, signed, _key_pem(key))

    def sign(
        self,
        key: ec.EllipticCurvePublicKey,
        holder: Holder,
        addresses: Iterable[str] = (),
        days: int = 90,
    ) -> bytes:
        """Return a certificate in PEM form for somebody else's key; raises CertificateError.

        It ends with the root at the latest.
        """
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(holder.uri)]
        names += [_address(each) for each in addresses]
        until = min(_after(days), self._root.not_valid_after_utc)
        issuer = self._root.public_key()
        if not isinstance(issuer, ec.EllipticCurvePublicKey) or until <= _now():
            raise CertificateError("the authority has expired; make a new one")
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if holder.role == "collector":
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        built = (
            _builder(_common_name(holder.name), self._root.subject, key, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False
            )
        )
        return built.sign(self._key, hashes.SHA256()).public_bytes(_PEM)


@dataclass(frozen=True, slots=True)
class Issued:
    """A bundle that is not on a disk yet."""

    ca: bytes
    cert: bytes
    key: bytes

    def save(self, folder: Path) -> TlsFiles:
        """Write or replace the bundle, the key for its owner only. Raises CertificateError."""
        files = TlsFiles.in_bundle(folder)
        self._put(files, self.ca)
        return files

    def replace(self, files: TlsFiles) -> None:
        """Write or replace certificate and key alone, wherever they are. Raises CertificateError.

        Whom to trust stays as it is. A pair that fits can be read at every moment, also where
        this is killed; where one of the two cannot be replaced, neither is.
        """
        self._put(files, b"")

    def _put(self, files: TlsFiles, ca: bytes) -> None:
        if files.cert.resolve() == files.key.resolve():
            raise CertificateError(
                f"{files.cert}: holds certificate and key, which are replaced one after the "
                "other; give each a file of its own"
            )
        check_writable(files)
        try:
            replace_pair(files, Material(ca, self.cert, self.key))
        except OSError as error:
            folder = Path(error.filename).parent if error.filename else files.cert.parent
            raise _unwritten(folder, error) from None


def check_writable(files: TlsFiles) -> None:
    """Raise CertificateError with a sentence where certificate or key cannot be replaced."""
    for path in (files.key, files.cert):
        if path.parent.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
            raise CertificateError(
                f"{path.parent}: this process may not write there: give the folder to its user "
                "and, where a systemd unit protects the files, name it in a drop-in: "
                f"ReadWritePaths={path.parent}"
            )
        if path.is_dir():
            raise CertificateError(f"{path}: a folder, where a file is to be")


def make_request() -> tuple[bytes, bytes]:
    """Make a key; return it in PEM form, and the request to sign for it (PKCS #10, DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Who it is for is decided by who signs: a request names nobody.
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = request.sign(key, hashes.SHA256())
    return _key_pem(key), signed.public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request whose sender has the private one.

    Raises CertificateError where it is no such request.
    """
    try:
        read = x509.load_der_x509_csr(request)
        key, is_signed = read.public_key(), read.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("no request for a certificate (PKCS #10 in DER form)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the request's key is none of ECDSA P-256")
    if not is_signed:
        raise CertificateError("the request is not signed with its own key")
    return key


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise CertificateError(f"{text!r} is neither a host name nor an IP address") from None
        return x509.DNSName(text)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _SKEW)
        .not_valid_after(until)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME_CHARS])])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _after(days: int) -> datetime.datetime:
    if not 1 <= days <= 36_500:
        raise CertificateError(f"a certificate lasts from 1 to 36500 days, not {days}")
    return _now() + datetime.timedelta(days=days)


def _unwritten(folder: Path, error: OSError) -> CertificateError:
    return CertificateError(f"{folder}: cannot be written: {os.strerror(error.errno or errno.EIO)}")
