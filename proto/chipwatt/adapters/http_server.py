"""An HTTP server on one address: bounded bodies, no access log, an announced port."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp

from chipwatt.core.addresses import is_loopback
from chipwatt.core.errors import ConfigError

_WAITING = 128
"""Connections that are not taken yet."""
_THREADS = ThreadPoolExecutor(32, thread_name_prefix="adapter")
"""A scheduler filters one pod at a time and binds several at once."""
_DRAINED = 4
"""How many times what is allowed is read and dropped, so that the refusal is heard."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen, and the certificate to listen with; without one on loopback only."""

    address: str
    cert: Path | None = None
    key: Path | None = None

    def open(self) -> socket.socket:
        """Return a socket that listens. Raises ConfigError."""
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ConfigError(f"--listen: {self.address!r} is no address: write host:port")
        if self.cert is None and not is_loopback(host):
            raise ConfigError(
                f"--listen: {self.address} is no loopback address, and schedulers send whole pods: "
                "give --http-cert and --http-key as well"
            )
        for option, file in (("--http-cert", self.cert), ("--http-key", self.key)):
            if file is not None and not file.is_file():
                raise ConfigError(f"{option}: {file}: no such file")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, int(port)))
            listener.listen(_WAITING)
        except OSError as error:
            listener.close()
            raise ConfigError(f"--listen: {self.address}: {error.strerror or error}") from None
        return listener


def serve(app: ASGIApp, listen: Listen, announce: bool) -> None:
    """Answer until SIGTERM or Ctrl-C. Raises ConfigError where it cannot listen."""
    listener = listen.open()
    host, port = listener.getsockname()[:2]
    if announce:
        print(json.dumps({"listening": f"{host}:{port}", "pid": os.getpid()}), flush=True)  # noqa: T201
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, ssl_certfile=listen.cert, ssl_keyfile=listen.key,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


async def in_thread(work: Callable[..., Answer], *arguments: object) -> Answer:
    """Return ``work(*arguments)``, done where it may block."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)


async def body_of(request: Request, most_bytes: int) -> bytes | None:
    """Return the body; None where it is longer than ``most_bytes``, of which nothing is kept."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= most_bytes:
                parts.append(part)
            elif size > most_bytes * _DRAINED:
                break
            else:
                parts.clear()
    except ClientDisconnect:
        return b""
    return b"".join(parts) if size <= most_bytes else None
