"""Refuses a request that is no message of its kind: with a status and a sentence, not a traceback.

gRPC itself answers such bytes with UNKNOWN and logs a traceback for each, so that whoever
sends rubbish fills the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]


class Readable(grpc.aio.ServerInterceptor):
    """Reads the requests of calls that send one; what agents stream is left as it is."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return the call's handler, with one that reads before it."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None or handler.request_streaming:
            return handler
        read, write = handler.request_deserializer, handler.response_serializer
        one: Any = handler.unary_unary
        many: Any = handler.unary_stream
        name = handler_call_details.method.rpartition("/")[2]

        async def request_of(data: bytes, context: Any) -> Any:
            try:
                return read(data)
            except DecodeError:
                sentence = f"the request is no message of chipwatt.v1.{name}Request"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, sentence)

        async def answer(data: bytes, context: Any) -> Any:
            return await one(await request_of(data, context), context)

        async def answers(data: bytes, context: Any) -> AsyncIterator[Any]:
            async with aclosing(many(await request_of(data, context), context)) as messages:
                async for message in messages:
                    yield message

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(answers, response_serializer=write)
        return grpc.unary_unary_rpc_method_handler(answer, response_serializer=write)
