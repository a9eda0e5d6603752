"""The two rpcs that sign: Enrol for a token, Renew for the holder of a certificate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from chipwatt.collector.access.audit import AuditLog
from chipwatt.collector.access.caller import Caller, read_caller, source_of
from chipwatt.collector.access.role import Role
from chipwatt.core import log
from chipwatt.core.bootstrap_token import TokenBook, TokenRefused
from chipwatt.core.errors import CertificateError, ConfigError
from chipwatt.v1 import certificates_pb2 as pb
from chipwatt.v1 import certificates_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from pathlib import Path

    from chipwatt.core.authority import Authority
    from chipwatt.core.certificate import Holder

MAX_REQUEST_BYTES = 4096
"""A request for an ECDSA P-256 key has some 250."""
Context = grpc.aio.ServicerContext[Any, Any]
_log = log.get(__name__)


class Signer:
    """Signs and notes in the audit log for whom; knows no connection."""

    def __init__(
        self,
        folder: Path,
        days: int,
        audit: AuditLog,
        unix_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Read the authority in ``folder``; raises ConfigError."""
        self._authority = load(folder)
        self._book = TokenBook(folder)
        self._days = days
        self._audit = audit
        self._unix_s = unix_s

    def enrol(self, token: bytes, request: bytes, caller: Caller) -> bytes:
        """Return a certificate for whom the token names. Raises CertificateError."""
        from chipwatt.core.authority import requested_key
        from chipwatt.core.certificate import Holder

        requested_key(request)  # a request that is no good does not use a token up
        now_s = self._unix_s()
        self._book.sweep(now_s - 86_400)
        grant = self._book.take(token, now_s)
        holder = Holder(self._authority.domain, grant.role, grant.name)
        return self._sign(holder, request, caller, by="token", token=f"{grant.role}/{grant.name}")

    def renew(self, ids: list[str], request: bytes, caller: Caller) -> bytes:
        """Return a certificate for the holder of one with these SPIFFE ids.

        Raises CertificateError, PermissionError for a holder who is none of this authority's.
        """
        from chipwatt.core.certificate import holder_in

        holder = holder_in(ids)
        if holder.domain != self._authority.domain or len(ids) != 1:
            raise PermissionError
        return self._sign(holder, request, caller, by="certificate")

    @property
    def root(self) -> bytes:
        """The authority's certificate, PEM."""
        return self._authority.pem

    def _sign(self, holder: Holder, request: bytes, caller: Caller, **grounds: str) -> bytes:
        """Sign for ``holder``; ``grounds`` say by what right, for the audit log."""
        from chipwatt.core.authority import requested_key

        signed = self._authority.sign(requested_key(request), holder, days=self._days)
        said: dict[str, str | int] = {"holder": holder.uri, "days": self._days, **grounds}
        self._audit.note("certificate issued", caller, **said)
        _log.info("certificate issued", holder=holder.uri, by=grounds["by"], source=caller.source)
        return signed


class EnrolmentServicer(pb_grpc.EnrolmentServiceServicer):
    """Answers at the address where nobody shows a certificate."""

    def __init__(self, signer: Signer, audit: AuditLog) -> None:
        self._signer = signer
        self._audit = audit

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.EnrolResponse:
        """Trade a token for a certificate."""
        # A token names whom it is for and not who has it: over loopback, too, that is nobody yet.
        source = source_of(context.peer())
        caller = Caller(Role.NONE, source, has_certificate=False, source=source)
        await _check_size(request.request, context)
        try:
            signed = await asyncio.to_thread(
                self._signer.enrol, request.token, request.request, caller
            )
        except TokenRefused as error:
            self._audit.note("enrolment refused", caller, by="token")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except CertificateError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"request: {error}")
        return pb.EnrolResponse(certificate=signed, authority=self._signer.root)


class CertificateServicer(pb_grpc.CertificateServiceServicer):
    """Answers at the collector's own address, behind its guard."""

    def __init__(self, signer: Signer | None) -> None:
        """``signer`` None: there is no authority here, and every question is told so."""
        self._signer = signer

    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.RenewResponse:
        """Give the caller another certificate like the one that it shows."""
        auth = context.auth_context()
        ids = [uri.decode("ascii", "replace") for uri in auth.get("peer_uri", ())]
        if self._signer is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "this collector has no authority: set [enrolment] authority, or renew where it is",
            )
        if not ids:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "only a certificate that is shown can be renewed"
            )
        await _check_size(request.request, context)
        caller = read_caller(auth, context.peer())
        try:
            signed = await asyncio.to_thread(self._signer.renew, ids, request.request, caller)
        except PermissionError:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                "the certificate is of another authority's domain; renew it there",
            )
        except CertificateError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"request: {error}")
        return pb.RenewResponse(certificate=signed, authority=self._signer.root)


def load(folder: Path) -> Authority:
    """Read an authority's folder. Raises ConfigError, also where ``cryptography`` is missing."""
    try:
        from chipwatt.core.authority import Authority
    except ModuleNotFoundError:
        raise ConfigError(
            "[enrolment] needs the Python package cryptography: run pip install 'chipwatt[certs]'"
        ) from None
    try:
        return Authority.load(folder)
    except CertificateError as error:
        raise ConfigError(f"enrolment.authority: {error}") from None


async def _check_size(request: bytes, context: Context) -> None:
    if len(request) > MAX_REQUEST_BYTES:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"request: {len(request)} bytes, at most {MAX_REQUEST_BYTES}",
        )
