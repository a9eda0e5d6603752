"""Runs the sensing process, feeds the intake with what it says, starts it again when it dies."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from chipwatt.agent import sensing_link as link
from chipwatt.agent.intake import Intake
from chipwatt.agent.suspects import Suspects
from chipwatt.core import log
from chipwatt.core.backoff import delays_s
from chipwatt.core.errors import ConfigError, InvalidPayload, TraceError
from chipwatt.core.identity import DeviceId
from chipwatt.core.workload import Binding

COMMAND = (sys.executable, "-m", "chipwatt.agent.sensing_process", "--fd")
STOP_GRACE_S = 8.0
"""How long a sensing process may take to finish once it was told to."""
WORDS_S = 1.0
"""How long its last words may take to arrive once it has ended."""
HEALTHY_S = 60.0
"""A life of this length makes the next restart quick again."""
_FOR_GOOD = {error.exit_code: error for error in (ConfigError, TraceError)}
_log = log.get(__name__)


class SensingChild:
    """One sensing process at a time."""

    def __init__(
        self,
        settings: link.Start,
        intake: Intake,
        command: Sequence[str] = COMMAND,
        retries: Callable[[], Iterator[float]] = lambda: delays_s(0.2, 30.0),
    ) -> None:
        """Prepare to run with ``settings``; the memory is taken from ``intake`` at each start.

        Raises ConfigError where a setting is of a kind that cannot be handed over.
        """
        try:
            link.encode(settings)
        except InvalidPayload as error:
            raise ConfigError(str(error)) from None
        self._settings = settings
        self._intake = intake
        self._command = command
        self._retries = retries
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._batch_s = 0
        self._bindings: tuple[Binding, ...] = ()
        self._changed = asyncio.Event()
        """Set by whatever the process has to be told."""
        self._last_words = ""
        self._suspects = Suspects()
        self._anew = False
        """Whether the process asks to be started again at once."""
        self._failure = ""
        self.restarts = 0
        self.done = False
        """Whether a replay has come to its end: then nothing is started again."""
        self.devices: tuple[DeviceId, ...] | None = None
        """Chips that it measures, or the one before it did; None until one has said so."""

    @property
    def pid(self) -> int | None:
        """None while no process lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process is not None else None

    @property
    def problem(self) -> str:
        """A sentence while nothing, or not everything, can be sensed; else empty."""
        told = [f"{name}: {why}" for name, why in self._suspects.left_out.items()]
        return "; ".join([self._failure, *told] if self._failure else told)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Sources that ended the sensing process and are not opened, with a sentence each."""
        return self._suspects.left_out

    def stop(self) -> None:
        """Let the process hand out what it has and end; ``run`` returns after that."""
        self._stopping.set()
        self._changed.set()

    def set_cadence(self, cadence_ms: int) -> None:
        """Let batches cover so much from the next one on, in this process and in those to come.

        0, and what is not a whole number of seconds from 1 to 60, leaves it to the settings.
        """
        batch_s, rest_ms = divmod(cadence_ms, 1000)
        if rest_ms or not 0 <= batch_s <= link.MAX_BATCH_S:
            _log.warning(
                "the collector asks for an impossible cadence; own setting kept", ms=cadence_ms
            )
            batch_s = 0
        if batch_s != self._batch_s:
            _log.info("the collector sets the cadence", seconds=batch_s or "as configured")
            self._batch_s = batch_s
            self._changed.set()

    def set_bindings(self, bindings: Sequence[Binding]) -> None:
        """Let these be the workloads, in this process and in those to come."""
        self._bindings = tuple(bindings)
        self._changed.set()

    async def run(self) -> None:
        """Return at the end of a replay or after ``stop``.

        Raises ConfigError or TraceError with the sensing process's own sentence
        where it ended for a reason that only a person can mend.
        """
        delays = self._retries()
        while True:
            began_s = time.monotonic()
            code = await self._one_life()
            if self.done or self._stopping.is_set():
                return
            if time.monotonic() - began_s > HEALTHY_S:
                delays = self._retries()
                self._suspects.lived_long()
            if self._anew:
                self.restarts += 1
                continue
            # A library may end the process with any code while it is opened.
            if code in _FOR_GOOD and not self._suspects.opening:
                raise _FOR_GOOD[code](self._last_words.removeprefix("chipwatt sensing: "))
            delay_s = next(delays)
            self._mourn(code, delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            if self._stopping.is_set():
                return
            self.restarts += 1

    def _mourn(self, code: int, wait_s: float) -> None:
        """Say of what the process died, and draw the consequences."""
        opening = ", ".join(self._suspects.opening)
        _log.error(
            "sensing process ended; starting it again",
            code=code,
            wait_s=round(wait_s, 1),
            **({"while_opening": opening} if opening else {}),
        )
        during = f" while it opened {opening}" if opening else ""
        self._failure = f"the sensing process ended with code {code}{during}: nothing is measured"
        self._learn_from(code)

    def _learn_from(self, code: int) -> None:
        """Leave out what brought the end about."""
        for name in self._suspects.died(code):
            _log.error("source left out", source=name, reason=self._suspects.left_out[name])

    async def _one_life(self) -> int:
        self._anew = False
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                # Of its own group: Ctrl-C in a terminal is for the agent alone to hear.
                self._process = process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    process_group=0,
                )
            ours.setblocking(False)
            teller = asyncio.create_task(self._tell(ours, lambda: self._kill(process)))
            speech = asyncio.create_task(self._pass_words_on(process))
            try:
                await self._listen(ours)
                code = await self._reap(process)
            except InvalidPayload as error:
                _log.error("the sensing process speaks nonsense and is ended", reason=error)
                code = await self._kill(process)
            else:
                await asyncio.wait([speech], timeout=WORDS_S)
            finally:
                for task in (teller, speech):
                    task.cancel()
                await asyncio.gather(teller, speech, return_exceptions=True)
                await self._kill(process)
        return code

    async def _listen(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = link.FrameReader()
        with suppress(ConnectionError):  # it died: its exit code says more
            while data := await loop.sock_recv(ours, 1 << 16):
                for message in reader.feed(data):
                    if isinstance(message, link.Payload):
                        self._failure = ""
                        self._intake.put(message.payload, _json(message.memory))
                    elif isinstance(message, link.Opening):
                        self._suspects.heard(message)
                    elif isinstance(message, link.Anew):
                        self._anew = True
                        self._suspects.ended_anew(message.found)
                        _log.info("more sensors found; sensing anew", sources=message.found)
                    elif isinstance(message, link.Devices):
                        self.devices = message.devices
                    elif isinstance(message, link.Done):
                        self.done = True
                await self._intake.room()

    def _start(self) -> link.Start:
        intake = self._intake
        memory = json.loads(intake.memory or intake.doubtful_memory or b"[]")
        if not intake.memory:
            memory = [{**entry, "in_doubt": True} for entry in memory]
        settings = replace(self._settings, memory=memory)
        return self._suspects.careful_start(settings)

    async def _tell(self, ours: socket.socket, end: Callable[[], Awaitable[object]]) -> None:
        """Say START, then what changes, at last STOP; ``end`` one that does not heed it."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            await loop.sock_sendall(ours, link.encode(self._start()))
            told_s = 0
            bound: tuple[Binding, ...] = ()
            while not self._stopping.is_set():
                self._changed.clear()
                if told_s != self._batch_s:
                    told_s = self._batch_s
                    await loop.sock_sendall(ours, link.encode(link.SetCadence(told_s)))
                if bound != self._bindings:
                    bound = self._bindings
                    await loop.sock_sendall(ours, link.encode(link.Bind(bound)))
                await self._changed.wait()
            await loop.sock_sendall(ours, link.encode(link.Stop()))
        await self._stopping.wait()
        await asyncio.sleep(STOP_GRACE_S)
        _log.error("sensing process does not stop and is killed", after_s=STOP_GRACE_S)
        await end()

    async def _pass_words_on(self, process: asyncio.subprocess.Process) -> None:
        """Write its stderr to ours, line by line, and keep the last one."""
        pending = b""
        while process.stderr is not None and (data := await process.stderr.read(1 << 14)):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._last_words = line.decode("utf-8", "replace")
                print(self._last_words, file=sys.stderr, flush=True)  # noqa: T201

    async def _reap(self, process: asyncio.subprocess.Process) -> int:
        """Wait for a process that has closed its end; not for ever."""
        with suppress(TimeoutError):
            return await asyncio.wait_for(process.wait(), STOP_GRACE_S)
        return await self._kill(process)

    @staticmethod
    async def _kill(process: asyncio.subprocess.Process) -> int:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        return await process.wait()


def _json(memory: link.Memory) -> bytes:
    return json.dumps(memory, separators=(",", ":")).encode()
