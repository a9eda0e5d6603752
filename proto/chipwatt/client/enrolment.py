"""How a host comes by its certificate: with a token at first, with the certificate later."""

from __future__ import annotations

from pathlib import Path

import grpc

from chipwatt.client.channel import Channel
from chipwatt.core.errors import ConfigError
from chipwatt.v1 import certificates_pb2 as pb
from chipwatt.v1 import certificates_pb2_grpc


class EnrolmentClient(Channel):
    """Speaks to the collector's enrolment address, which it knows by ``ca`` alone.

    Raises ConfigError where that file cannot be read.
    """

    def __init__(self, address: str, ca: Path, *, timeout_s: float = 10.0) -> None:
        self._ca = ca
        # There is no certificate to show yet; ``_open`` encrypts all the same.
        super().__init__(address, timeout_s=timeout_s, plaintext_over_network=True)

    def _open(self) -> grpc.Channel:
        try:
            root = self._ca.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self._ca}: cannot be read: {error.strerror}") from None
        credentials = grpc.ssl_channel_credentials(root)
        return grpc.secure_channel(self._address, credentials, self._options)

    def enrol(self, token: str, request: bytes) -> tuple[bytes, bytes]:
        """Return certificate and authority in PEM form for a token and a PKCS #10 request.

        Raises RequestRefused, CollectorUnreachable.
        """
        stub = self._stub(certificates_pb2_grpc.EnrolmentServiceStub)
        answer = self._call(stub.Enrol, pb.EnrolRequest(token=token.encode(), request=request))
        return answer.certificate, answer.authority


class RenewalClient(Channel):
    """Speaks to the collector with the certificate that is to be renewed."""

    def renew(self, request: bytes) -> tuple[bytes, bytes]:
        """Return certificate and authority in PEM form for a PKCS #10 request.

        Raises RequestRefused, CollectorUnreachable.
        """
        stub = self._stub(certificates_pb2_grpc.CertificateServiceStub)
        answer = self._call(stub.Renew, pb.RenewRequest(request=request))
        return answer.certificate, answer.authority
