from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent import sensing_child
from chipwatt.agent.config import AgentConfig
from chipwatt.agent.daemon import Daemon
from chipwatt.agent.uplink_config import UplinkConfig
from chipwatt.agent.workload_service import WorkloadsConfig
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.errors import ChipwattError, ConfigError, SpoolError, TraceError
from chipwatt.core.settings import Duration
from fakes import sensing_program
from fakes.telemetry_server import TelemetryServer

QUICK = UplinkConfig(retry_least=Duration(5 * NS_PER_MS), retry_most=Duration(20 * NS_PER_MS))


def command(script: str, directory: Path) -> tuple[str, ...]:
    return (sys.executable, str(sensing_program.__file__), script, str(directory / "lives"), "--fd")


def config(directory: Path, collector: str, drain_ms: int = 3000) -> AgentConfig:
    return AgentConfig(
        collector=collector,
        state_dir=directory / "state",
        uplink=QUICK,
        drain_grace=Duration(drain_ms * NS_PER_MS),
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())


def status(directory: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((directory / "state" / "status.json").read_text())
    return parsed


def memories(directory: Path) -> list[Any]:
    return [json.loads(line) for line in (directory / "lives").read_text().splitlines()]


async def poll(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it looks at has no event
        await asyncio.sleep(0.01)


def test_a_replay_ends_once_the_collector_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        daemon = Daemon(config(tmp_path, server.address), command("send:a send:b done", tmp_path))
        await daemon.run(asyncio.Event(), until_delivered=True)
        assert sorted(server.stored.values()) == [b"a", b"b"]
        await server.stop()
        final = status(tmp_path)
        assert final["ended"] is True
        assert final["spool"]["unacked"] == 0
        assert final["spool"]["last_sequence"] == 2
        assert final["uplink"]["acked"] == 2
        assert final["sensing"] == {
            "alive": False,
            "pid": None,
            "restarts": 0,
            "payloads": 2,
            "done": True,
            "left_out": {},
        }

    run(test())


def test_without_until_delivered_it_stays_until_told(tmp_path: Path) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, server.address), command("send:a done", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        await server.wait_for(1)
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert not done
        stop.set()
        await running
        await server.stop()
        assert len(memories(tmp_path)) == 1

    run(test())


def test_stop_waits_for_the_last_frames_and_delivers_them(tmp_path: Path) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, server.address), command("send:a wait", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        await server.wait_for(1)
        stop.set()
        await running
        assert sorted(server.stored.values()) == [b"a", b"last"]
        await server.stop()

    run(test())


def test_without_a_collector_it_ends_after_the_grace_and_goes_on_next_time(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, "127.0.0.1:1", 50), command("send:a wait", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        await poll(lambda: daemon._spool.counts.unacked == 1)
        stop.set()
        await running
        assert status(tmp_path)["spool"]["unacked"] == 2
        assert "no collector answers" in status(tmp_path)["uplink"]["last_error"]
        server = TelemetryServer()
        await server.start()
        again = Daemon(config(tmp_path, server.address), command("done", tmp_path))
        await again.run(asyncio.Event(), until_delivered=True)
        assert sorted(server.stored.values()) == [b"a", b"last"]
        assert memories(tmp_path) == [[], [{"after": "last"}]]
        await server.stop()

    run(test())


@pytest.mark.parametrize("death", ["exit:1", "nonsense", "exit:0"])
def test_a_dead_sensing_process_is_started_again_with_its_memory(
    tmp_path: Path, death: str
) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        script = command(f"send:a {death}|send:b done", tmp_path)
        daemon = Daemon(config(tmp_path, server.address), script)
        await daemon.run(asyncio.Event(), until_delivered=True)
        # What came in one piece with the nonsense is lost with it, memory included.
        heard_a = b"a" in server.stored.values() or death != "nonsense"
        assert sorted(server.stored.values()) == ([b"a", b"b"] if heard_a else [b"b"])
        assert memories(tmp_path) == [[], [{"after": "a"}] if heard_a else []]
        assert status(tmp_path)["sensing"]["restarts"] == 1
        await server.stop()

    run(test())


@pytest.mark.parametrize(("code", "error"), [(65, TraceError), (78, ConfigError)])
def test_a_fault_that_only_a_person_can_mend_ends_the_agent_with_its_sentence(
    tmp_path: Path, code: int, error: type[ChipwattError], capsys: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        script = command(f"send:a say:no_such_trace exit:{code}", tmp_path)
        daemon = Daemon(config(tmp_path, server.address), script)
        with pytest.raises(error, match=r"^no_such_trace$"):
            await daemon.run(asyncio.Event(), until_delivered=True)
        assert list(server.stored.values()) == [b"a"]
        assert len(memories(tmp_path)) == 1
        assert status(tmp_path)["ended"] is True
        await server.stop()

    run(test())
    assert "chipwatt sensing: no_such_trace\n" in capsys.readouterr().err


def test_a_setting_that_json_does_not_know_is_a_sentence(tmp_path: Path) -> None:
    async def test() -> None:
        odd = replace(config(tmp_path, "127.0.0.1:1"), sources={"x": {"day": date(2026, 1, 1)}})
        with pytest.raises(ConfigError, match="cannot be handed to the sensing process"):
            Daemon(odd, command("wait", tmp_path))

    run(test())


def test_a_sensing_process_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensing_child, "STOP_GRACE_S", 0.2)

    async def test() -> None:
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, "127.0.0.1:1", 10), command("send:a deaf", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        await poll(lambda: daemon._spool.counts.unacked == 1)
        pid = daemon._child.pid
        assert pid is not None
        stop.set()
        await running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(test())


def test_killing_the_sensing_process_is_not_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, server.address), command("send:a wait", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        await server.wait_for(1)
        assert daemon._child.pid is not None
        os.kill(daemon._child.pid, signal.SIGKILL)
        await server.wait_for(2)
        stop.set()
        await running
        assert sorted(server.stored.values()) == [b"a", b"a", b"last"]
        await server.stop()

    run(test())


def test_two_agents_on_one_state_dir(tmp_path: Path) -> None:
    async def test() -> None:
        stop = asyncio.Event()
        daemon = Daemon(config(tmp_path, "127.0.0.1:1", 10), command("wait", tmp_path))
        running = asyncio.create_task(daemon.run(stop))
        with pytest.raises(SpoolError, match="is using this spool"):
            Daemon(config(tmp_path, "127.0.0.1:1"), command("wait", tmp_path))
        await poll((tmp_path / "lives").exists)
        stop.set()
        await running

    run(test())


@pytest.mark.parametrize("wrong", ["group", "file", "open"])
def test_a_wrong_place_for_schedulers_ends_it_before_anything_is_measured(
    tmp_path: Path, wrong: str
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    path = folder / "s"
    if wrong == "file":
        path.write_text("")
    elif wrong == "open":
        folder.chmod(0o777)
    chosen = WorkloadsConfig(socket=path, group="no-such-group" if wrong == "group" else "")
    settings = replace(config(tmp_path, "127.0.0.1:1"), workloads=chosen)

    async def test() -> None:
        for _ in range(2):  # and gives its spool back
            with pytest.raises(ConfigError) as raised:
                await Daemon(settings, command("wait", tmp_path)).run(asyncio.Event())
            assert raised.value.exit_code == 78
            assert str(path) in str(raised.value) or wrong != "file"
        assert not (tmp_path / "lives").exists()
        assert wrong == "file" or not path.exists()

    run(test())


def test_a_state_folder_that_suits_no_socket_keeps_nobody_from_measuring(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        settings = replace(config(tmp_path, server.address), state_dir=tmp_path / ("x" * 110))
        log.setup(settings.log)
        daemon = Daemon(settings, command("send:a done", tmp_path))
        await daemon.run(asyncio.Event(), until_delivered=True)
        await server.stop()

    run(test())
    said = capfd.readouterr().err
    assert "no workload can be bound here" in said
    assert "too long for a socket" in said
