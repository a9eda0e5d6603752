"""``/metrics`` over HTTP, on the collector's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from chipwatt.collector.prometheus.scrape import Scrape, media_type
from chipwatt.core.addresses import split_address
from chipwatt.core.errors import ChipwattError, ConfigError

PATH = "/metrics"
MAX_CONNECTIONS = 32
"""At once; one more is told to come back."""
GRACE_S = 2
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class MetricsUnavailable(ChipwattError):
    """The endpoint cannot listen where it was told to."""

    exit_code = 69  # EX_UNAVAILABLE


@contextlib.asynccontextmanager
async def serving(listen: str, scrape: Scrape) -> AsyncIterator[str]:
    """Answer scrapes inside the block, on the address that is given, port in use included.

    Raises MetricsUnavailable, and ConfigError where the extra ``web`` is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise ConfigError(
            "prometheus.listen needs the extra `web`: pip install 'chipwatt[web]'"
        ) from None

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are the collector's

    listener = _bound(listen)
    address = listener.getsockname()
    config = uvicorn.Config(
        app(scrape),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    try:
        yield f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


def app(scrape: Scrape) -> Callable[[_Message, _Receive, _Send], Awaitable[None]]:
    """Return the ASGI application."""

    async def answer(scope: _Message, _: _Receive, send: _Send) -> None:
        if scope["path"] != PATH:
            await _reply(send, 404, f"only {PATH} is here\n".encode())
            return
        if scope["method"] != "GET":
            await _reply(send, 405, b"GET only\n", (b"allow", b"GET"))
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        kind, is_open_metrics = media_type(asked.get(b"accept", ""))
        is_gzip = "gzip" in asked.get(b"accept-encoding", "")
        page = await asyncio.to_thread(
            scrape.page, is_open_metrics=is_open_metrics, is_gzip=is_gzip
        )
        more = [(b"content-encoding", b"gzip")] if is_gzip else []
        await _reply(send, 200, page, (b"vary", b"accept, accept-encoding"), *more, kind=kind)

    return answer


async def _reply(
    send: _Send,
    status: int,
    body: bytes,
    *headers: tuple[bytes, bytes],
    kind: str = "text/plain; charset=utf-8",
) -> None:
    all_headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


def _bound(listen: str) -> socket.socket:
    host, port = split_address(listen)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise MetricsUnavailable(f"prometheus.listen {listen}: {reason}") from None
    return listener
