"""OTLP/HTTP with protobuf bodies: as much of HTTP/1.1 as a client that posts needs.

One connection, kept while the receiver keeps it. Nothing blocks the event loop: the
standard library's own client would.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import ssl
import time
from email.message import Message
from http.client import HTTPException, parse_headers
from pathlib import Path
from typing import Final

from chipwatt.collector.otlp.config import Destination
from chipwatt.collector.otlp.retry import Answer, Verdict, of_http
from chipwatt.core.errors import ConfigError
from chipwatt.core.tls import fitting_key

_MAX_BODY: Final = 1 << 20  # an answer that is longer is cut there, and the connection with it
_MAX_HEAD: Final = 1 << 16
_GZIP_LEVEL: Final = 6
_NO_BODY: Final = (204, 304)
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Gone(Exception):
    """The connection ended before an answer began."""


class HttpLink:
    """A way to one receiver."""

    def __init__(self, destination: Destination) -> None:
        """Take where to; raises ConfigError where the files of TLS cannot be read."""
        self._address = destination.address()
        self._tls = tls_context(destination) if destination.is_tls() else None
        self._is_gzip = destination.compression == "gzip"
        lines = {
            "Host": destination.target(),
            "User-Agent": "OTel-OTLP-Exporter-Chipwatt",
            **dict(destination.metadata()),
            "Content-Type": "application/x-protobuf",
        }
        if self._is_gzip:
            lines["Content-Encoding"] = "gzip"
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._head = f"POST {destination.path()} HTTP/1.1\r\n{told}"
        self._streams: _Streams | None = None

    async def send(self, data: bytes, timeout_s: float) -> Answer:
        """Post a request."""
        body = data
        if self._is_gzip:
            body = await asyncio.to_thread(gzip.compress, data, _GZIP_LEVEL, mtime=0)
        message = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(message)
        except TimeoutError:
            await self.close()
            return Answer(Verdict.RETRY, f"no answer in {timeout_s:g} s", is_timeout=True)
        except (OSError, EOFError, ValueError, HTTPException, _Gone) as error:
            await self.close()
            return Answer(Verdict.RETRY, str(error) or type(error).__name__)

    async def close(self) -> None:
        """Give up the connection."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.transport.abort()

    async def _post(self, message: bytes) -> Answer:
        if self._streams is not None:
            try:
                return await self._exchange(self._streams, message)
            except (_Gone, ConnectionError):
                # The receiver closed what was idle: that says nothing about the request.
                await self.close()
        host, port = self._address
        self._streams = await asyncio.open_connection(host, port, ssl=self._tls, limit=_MAX_HEAD)
        return await self._exchange(self._streams, message)

    async def _exchange(self, streams: _Streams, message: bytes) -> Answer:
        reader, writer = streams
        # Whoever refuses early may not read the rest: its answer counts all the same.
        writer.write(message)
        status, headers = await _head(reader)
        while 100 <= status < 200:
            status, headers = await _head(reader)
        body, is_whole = await _body(reader, status, headers)
        if not is_whole or "close" in headers.get("Connection", "").lower():
            await self.close()
        return of_http(status, headers.get("Retry-After", ""), body, time.time())


async def _head(reader: asyncio.StreamReader) -> tuple[int, Message]:
    """Return status and headers; raises _Gone where there is nothing, ValueError at nonsense."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise _Gone("closed without an answer") from None
        raise
    except asyncio.LimitOverrunError:
        raise ValueError("its answer has no end of headers") from None
    line, _, rest = head.partition(b"\r\n")
    version, _, said = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not said[:3].isdigit():
        raise ValueError("its answer is not HTTP/1.1")
    return int(said[:3]), parse_headers(io.BytesIO(rest))


async def _body(reader: asyncio.StreamReader, status: int, headers: Message) -> tuple[bytes, bool]:
    """Return the body, at most ``_MAX_BODY`` of it, and whether another answer may follow it."""
    if status in _NO_BODY:
        return b"", True
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return await _chunks(reader)
    told = headers.get("Content-Length")
    if told is None:
        return await _upto(reader, _MAX_BODY), False
    if not (told.isascii() and told.isdecimal()):
        raise ValueError("its answer has no length")
    length = int(told[:18])
    if length > _MAX_BODY:
        return await reader.readexactly(_MAX_BODY), False
    return await reader.readexactly(length), True


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = b""
    while True:
        size = int((await reader.readline()).partition(b";")[0], 16)
        if not size:
            while (await reader.readline()).strip():
                pass
            return body, True
        if size < 0 or len(body) + size > _MAX_BODY:
            return body, False
        body += await reader.readexactly(size)
        await reader.readline()


async def _upto(reader: asyncio.StreamReader, most: int) -> bytes:
    body = b""
    while len(body) < most and (more := await reader.read(most - len(body))):
        body += more
    return body


def key_file(destination: Destination) -> Path | None:
    """Return where the key of the destination's certificate is, also amid a renewal."""
    cert, key = destination.tls_cert, destination.tls_key
    return key if cert is None or key is None else fitting_key(cert, key)


def tls_context(destination: Destination) -> ssl.SSLContext:
    """Return what TLS rests on; raises ConfigError where a file is none of its kind."""
    ca, cert, key = destination.tls_ca, destination.tls_cert, destination.tls_key
    for name, path in (("tls_ca", ca), ("tls_cert", cert), ("tls_key", key)):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"otlp.{name} {path}: cannot be read: {error.strerror}") from None
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise ConfigError(f"otlp.tls_ca {ca}: no PEM file of certificates") from None
    try:
        if cert is not None:
            # Without a word of ours it would ask at the terminal for that of a locked key.
            context.load_cert_chain(cert, key_file(destination), password="")
    except ssl.SSLError:
        raise ConfigError(
            f"otlp.tls_cert {cert}: no PEM file of a certificate that the key in {key} fits"
        ) from None
    return context
