"""How a servicer answers: off the event loop, and with a sentence where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

import grpc
import grpc.aio

from chipwatt.core import log
from chipwatt.core.errors import ChipwattError

_log = log.get(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")


class Refused(Exception):
    """A request that cannot be answered: the gRPC status and a sentence for the caller."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def not_found(message: str) -> Refused:
    """Refuse: something that the request names does not exist here."""
    return Refused(grpc.StatusCode.NOT_FOUND, message)


def invalid(message: str) -> Refused:
    """Refuse: a field cannot be used; ``message`` begins with its name."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


async def answer(
    executor: Executor,
    context: grpc.aio.ServicerContext[Any, Any],
    work: Callable[[Request], Response],
    request: Request,
) -> Response:
    """Return ``work(request)``, done in ``executor`` so that no stream waits for it."""
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work, request)
    except Refused as refused:
        await context.abort(refused.code, str(refused))
    except ChipwattError as error:
        _log.error("a query failed", reason=str(error))
        await context.abort(grpc.StatusCode.INTERNAL, str(error))
