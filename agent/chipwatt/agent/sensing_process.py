"""The process that reads sensors: ``python -m chipwatt.agent.sensing_process --fd N``.

It opens no network connection and writes no file. Raw readings live and die in
its memory; what leaves it, over the Unix socket that it inherits, are encoded
records of finished windows. It ends on STOP, on SIGTERM, at the end of a replay
and when the agent's end of the socket closes.
"""

from __future__ import annotations

import argparse
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, cast

from chipwatt.agent import announce, claims
from chipwatt.agent import sensing_link as link
from chipwatt.agent.attribution.attributor import Attributor
from chipwatt.agent.claims import Claims
from chipwatt.agent.deadlines import freeze_garbage, keep_time
from chipwatt.agent.feed import Trace
from chipwatt.agent.inventory import REPLAY, Inventory, open_inventory
from chipwatt.agent.opening import Careful
from chipwatt.agent.outbox import Outbox
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.raw_ring import RawRings
from chipwatt.agent.realtime import prompt
from chipwatt.agent.rejections import RejectionLog
from chipwatt.agent.sampler import Sampler
from chipwatt.agent.search import Search
from chipwatt.agent.sender import Sender, remembered
from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import Own, SensingConfig, source_configs
from chipwatt.core.clock import NS_PER_S, Clock, SystemClock, VirtualClock
from chipwatt.core.errors import ChipwattError, ConfigError, TraceError

_FAREWELL_S = 5.0
"""How long the last frames wait for an agent that does not read."""

_LOOK_S = 0.2
"""Between two looks at a wish to stop, while there is nothing to sample yet."""

_log = logging.getLogger(__name__)


class SensingProcess:
    """One run, from START to the last frame."""

    def __init__(
        self, sock: socket.socket, registered: Mapping[str, Registered], own: Own | None = None
    ) -> None:
        """Serve the agent at the other end of ``sock`` with these sources.

        How they are read is a matter of ``own`` where it is given, else of the agent.
        """
        self._sock = sock
        self._own = own
        self._registered = registered
        self._reader = link.FrameReader()
        # Until sampling begins only notes are sent, each before a library is entered.
        self._outbox = Outbox(sock, blocking=True)
        self._early: list[link.Message] = []
        """What came together with START."""
        self._stop = False
        self._claims = Claims("")

    def request_stop(self) -> None:
        """Finish at the next turn; safe to call from a signal handler."""
        self._stop = True

    def run(self) -> None:
        """Wait for START, sample until told to stop, send what is left.

        Raises ConfigError where START asks for what cannot be, TraceError where it
        asks for a trace that cannot be read.
        """
        start = self._await_start()
        if start is None:
            return
        keep_time()
        own = self._own or Own(SensingConfig.from_plain(start.sensing), start.sources)
        config = own.sensing
        configs = source_configs(self._registered, config, own.sources, "agent")
        careful = Careful(start.left_out, start.one_by_one, self._note)
        inventory = open_inventory(self._registered, configs, config.sources, careful=careful)
        announce.absent(inventory.absent)
        self._claim(config, inventory, configs, start.state_dir)
        clock = _clock_of(inventory)
        attributor = Attributor(clock.mono_ns)
        reducer = Reducer(
            inventory.sensors(),
            mono_ns=clock.mono_ns(),
            unix_ns=clock.unix_ns(),
            window_ns=config.window,
            batch_ns=config.batch,
            memory=remembered(start.memory),
            attributor=attributor,
        )
        # A virtual clock outruns any agent, so there the agent sets the pace.
        self._outbox = outbox = Outbox(self._sock, blocking=isinstance(clock, VirtualClock))
        sender = Sender(outbox, reducer, [dict(entry) for entry in start.memory])
        rejections = RejectionLog(inventory.sensors(), reducer.ledgers())
        closing = ExitStack()
        closing.callback(attributor.close)
        looks = [rejections.look, attributor.look, *_give_raw(config, inventory, reducer, closing)]

        search = Search(
            inventory,
            clock,
            longest_ns=config.look_again,
            wary=start.wary,
            note=self._note,
        )

        def is_over() -> bool:
            outbox.flush()
            now_ns = clock.mono_ns()
            for look in looks:
                look(now_ns)
            for message in self._hear():
                match message:
                    case link.SetCadence():
                        reducer.set_batch(message.batch_s * NS_PER_S or config.batch)
                    case link.Bind():
                        attributor.bind(now_ns, message.bindings)
                    case _:
                        self._stop = True
            return self._stop or search.look(now_ns)

        sampler = Sampler(inventory, reducer, clock, config, emit=sender.send)
        freeze_garbage()
        try:
            outbox.push(link.Devices(inventory.devices()))
            # On a virtual clock nothing ever waits, so it would hold a core.
            with prompt(
                real_time=config.real_time and isinstance(clock, SystemClock)
            ) as promptness:
                _log.info("sampling at %s", promptness)
                sampler.run(is_over)
            sampler.close()
            sender.send(reducer.finish(clock.mono_ns()))
            rejections.finish()
            if not self._stop:
                outbox.push(link.Anew(tuple(search.found)) if search.found else link.Done())
            outbox.drain(_FAREWELL_S)
        except (BrokenPipeError, ConnectionResetError):
            _log.info("the agent is gone; its next start goes on from the windows it has")
        finally:
            closing.close()

    def _claim(
        self,
        config: SensingConfig,
        inventory: Inventory,
        configs: Mapping[str, Any],
        state_dir: str,
    ) -> None:
        """Make sure that no other agent reads these sensors, if wanted. Raises ConfigError."""
        if not config.exclusive:
            return

        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            self._early = self._hear()
            self._stop = self._stop or any(isinstance(each, link.Stop) for each in self._early)
            return not self._stop

        played = (each for each in inventory.opened if each.name != REPLAY)
        self._sock.settimeout(None)  # else the looks for messages would wait
        self._claims = Claims(state_dir)
        self._claims.take(claims.names(played, configs), wait)

    def _note(self, name: str, back: bool) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # _hear notices it
            self._outbox.push(link.Opening(name, back))

    def _await_start(self) -> link.Start | None:
        """Return START, or None where the agent leaves or stops before it."""
        self._sock.settimeout(_LOOK_S)
        while not self._stop:
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return None
            match self._reader.feed(data):
                case [link.Start() as start, *early]:
                    self._early = early
                    return start
                case [_, *_]:
                    self._stop = True
        return None

    def _hear(self) -> list[link.Message]:
        """Take in what the agent says, without waiting; note where it is gone."""
        messages, self._early = self._early, []
        try:
            data = self._sock.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return messages
        self._stop = self._stop or not data
        return messages + self._reader.feed(data)


def _give_raw(
    config: SensingConfig, inventory: Inventory, reducer: Reducer, closing: ExitStack
) -> list[Callable[[int], None]]:
    """Keep raw readings where that is wanted; return what serves them. Raises ConfigError."""
    if config.raw_socket is None:
        return []
    rings = RawRings(config.raw_socket, config.raw_keep, inventory.sensors())
    closing.callback(rings.close)
    reducer.overhear(rings.taker)
    return [rings.look]


def _clock_of(inventory: Inventory) -> Clock:
    """Return the clock that the sources live on: a replay brings its own."""
    for opened in inventory.opened:
        if opened.name == REPLAY:
            return cast("Trace", opened.source).clock
    return SystemClock()


def serve(sock: socket.socket, own: Own | None = None) -> None:
    """Serve the agent at the other end of ``sock`` until SIGTERM or its end.

    Raises what ``SensingProcess.run`` does.
    """
    # A core dump would hold raw readings.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The agent decides when to stop; an interrupt from the terminal reaches it as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = SensingProcess(sock, registry.load(), own)
    signal.signal(signal.SIGTERM, lambda *_: process.request_stop())
    process.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run on an inherited socket; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="chipwatt sensing process", description="Started by the agent, not by hand."
    )
    parser.add_argument("--fd", type=int, required=True, help="inherited end of a socket pair")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="chipwatt sensing: %(message)s", level=logging.INFO)
    try:
        with socket.socket(fileno=options.fd) as sock:
            serve(sock)
    except (ConfigError, TraceError) as error:
        print(f"chipwatt sensing: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except ChipwattError as error:
        # The status of a fault that only a person can mend is for those above.
        print(f"chipwatt sensing: {error}", file=sys.stderr)  # noqa: T201
        return ChipwattError.exit_code
    except OSError as error:
        raise_as = ConfigError(f"--fd {options.fd}: no socket to the agent: {error.strerror}")
        print(f"chipwatt sensing: {raise_as}", file=sys.stderr)  # noqa: T201
        return raise_as.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
