"""The interceptor before every servicer: who may call, how much, and for how long.

gRPC looks at a certificate when a connection begins and never again, so its end
is looked at here: at each call, at each message of a stream, and by a timer for a
stream that is silent. A request is parsed only for somebody who may make it.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from chipwatt.collector.access.audit import AuditLog
from chipwatt.collector.access.caller import (
    NO_CERTIFICATE,
    NO_ROLE,
    Caller,
    read_caller,
    remember,
)
from chipwatt.collector.access.config import MAX_CALLS_A_SOURCE
from chipwatt.collector.access.denied import Denied, bare
from chipwatt.collector.access.open_calls import OpenCalls, TooMany
from chipwatt.collector.access.penalties import Penalties
from chipwatt.collector.access.requests import Parse, parsed
from chipwatt.collector.access.role import Role
from chipwatt.collector.access.table import TABLE, Row, permits
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.retry_hint import exhausted_metadata

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

MAX_STREAMS_AN_AGENT = 4
"""Of one certificate, opened but not yet replaced by the newest: see ingest."""
BUSY_DELAY_S = (1.0, 15.0)
"""Between these it is random when one may come again who had too many calls open."""
_NOBODY = Row(frozenset())
_AUDITED_CODES = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
_HOST_DIGITS = 32
Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")


class Guard(grpc.aio.ServerInterceptor):
    """Stands before handlers of grpc.aio whose functions are all coroutines or generators."""

    def __init__(
        self,
        audit: AuditLog,
        *,
        any_peer: bool = False,
        trust_domain: str = "",
        calls_per_source: int = MAX_CALLS_A_SOURCE,
        table: Mapping[str, Row] = TABLE,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """``any_peer``: without TLS, take callers from any address for operators.

        With a ``trust_domain``, certificates of another name nobody.
        """
        self._audit = audit
        self._any_peer = any_peer
        self._trust_domain = trust_domain
        self._calls_per_source = calls_per_source
        self._table = table
        self._unix_ns = unix_ns
        self._open = OpenCalls()
        self._penalties = Penalties()
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the rpc's handler behind the checks; an rpc that nobody serves stays unknown."""
        method = handler_call_details.method
        if method not in self._guarded:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._guarded[method] = self._guard(method, handler)
        return self._guarded[method]

    def _guard(self, method: str, handler: Handler) -> Handler:
        row = self._table.get(method, _NOBODY)
        parse: Parse = handler.request_deserializer or bytes
        write = handler.response_serializer
        behaviour: Any = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

        async def serve(given: Any, context: Context) -> Any:
            caller = read_caller(
                context.auth_context(),
                context.peer(),
                any_peer=self._any_peer,
                trust_domain=self._trust_domain,
            )

            async def work() -> Any:
                if handler.request_streaming:
                    self._note(row, caller, method)
                    request: Any = self._requests(given, row, caller, parse)
                else:
                    request = parsed(given, row.max_bytes, parse)
                    request.DiscardUnknownFields()
                    self._note(row, caller, method, request)
                if not handler.response_streaming:
                    return await behaviour(request, context)
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    return await answers
                async with aclosing(answers):
                    async for answer in answers:
                        await context.write(answer)
                return None

            is_stream = handler.request_streaming or handler.response_streaming
            return await self._run(method, row, caller, context, work, is_stream=is_stream)

        make: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        # Without a deserializer gRPC hands over what came.
        guarded: Handler = make(serve, None, write)
        return guarded

    async def _run(
        self,
        method: str,
        row: Row,
        caller: Caller,
        context: Context,
        work: Callable[[], Awaitable[T]],
        *,
        is_stream: bool,
    ) -> T:
        try:
            try:
                await self._atone(caller)
                self._authorise(method, row, caller)
                with self._counted(caller, is_stream=is_stream):
                    remember(caller)
                    return await (self._until_expired(caller, work) if is_stream else work())
            except Denied as denied:
                refusal = bare(denied)
                if caller.has_certificate:
                    self._penalties.punish((caller.role, caller.name))
            await context.abort(refusal.code, str(refusal), refusal.metadata)
        except grpc.aio.AbortError as error:
            raise bare(error) from None
        finally:
            if status := _refusal(context.code()):
                self._audit.note("refused", caller, rpc=method, status=status)

    async def _atone(self, caller: Caller) -> None:
        """Let a caller wait whose calls were refused just now."""
        wait_s = self._penalties.take((caller.role, caller.name))
        if wait_s is None:
            raise _busy(f"too much of {caller.name!r} had to be refused")
        if wait_s:
            await asyncio.sleep(wait_s)

    def _authorise(self, method: str, row: Row, caller: Caller) -> None:
        if caller.role is Role.NONE:
            if not caller.has_certificate:
                raise Denied(grpc.StatusCode.PERMISSION_DENIED, NO_CERTIFICATE)
            if Role.NONE not in row.roles:
                raise Denied(grpc.StatusCode.UNAUTHENTICATED, NO_ROLE)
        self._check_end(caller)
        if not permits(row, caller.roles):
            wanted = " or ".join(sorted(row.roles)) or "that nobody has"
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{method.lstrip('/')} takes the role {wanted}; the caller is "
                f"{caller.role} {caller.name!r}",
            )

    def _check_end(self, caller: Caller) -> None:
        if caller.is_expired(self._unix_ns()):
            raise _expired(caller)

    async def _until_expired(self, caller: Caller, work: Callable[[], Awaitable[T]]) -> T:
        if caller.not_after_unix_ns is None:
            return await work()
        left_s = (caller.not_after_unix_ns - self._unix_ns()) / NS_PER_S
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                return await work()
        except TimeoutError:
            if limit.expired():
                raise _expired(caller) from None
            raise

    def _counted(self, caller: Caller, *, is_stream: bool) -> ExitStack:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._open.one(caller.source, self._calls_per_source))
                if caller.role is Role.AGENT and is_stream:
                    key = (caller.role, caller.name)
                    stack.enter_context(self._open.one(key, MAX_STREAMS_AN_AGENT))
            except TooMany:
                raise _busy(
                    f"too many calls of {caller.name or caller.source!r} are open"
                ) from None
            return stack.pop_all()

    async def _requests(
        self, requests: AsyncIterable[bytes], row: Row, caller: Caller, parse: Parse
    ) -> AsyncIterator[Any]:
        async for raw in requests:
            self._check_end(caller)
            yield parsed(raw, row.max_bytes, parse)

    def _note(self, row: Row, caller: Caller, method: str, request: object = None) -> None:
        if row.is_audited and caller.role is Role.OPERATOR:
            host = getattr(request, "host_id", "")
            subject = {"host": host} if _is_host(host) else {}
            self._audit.note("called", caller, rpc=method, **subject)


def _busy(reason: str) -> Denied:
    delay_s = random.uniform(*BUSY_DELAY_S)  # noqa: S311 - no secret hangs on it
    return Denied(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"{reason}; come again in {delay_s:.0f} s",
        exhausted_metadata(delay_s),
    )


def _expired(caller: Caller) -> Denied:
    return Denied(
        grpc.StatusCode.UNAUTHENTICATED,
        f"the certificate of {caller.name!r} has expired; connect again with a renewed one",
    )


def _is_host(text: object) -> bool:
    digits = isinstance(text, str) and len(text) == _HOST_DIGITS and text.isalnum()
    return digits and str(text).isascii()


def _refusal(code: object) -> str:
    """Return the name of a status that is audited; gRPC gives it as itself or as its number."""
    return next((one.name for one in _AUDITED_CODES if code in (one, one.value[0])), "")
