from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from chipwatt.agent.intake import Intake
from chipwatt.agent.sensing_child import SensingChild
from chipwatt.agent.sensing_link import Start
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.status_file import StatusFile
from chipwatt.agent.stream import UplinkState
from chipwatt.core.clock import NS_PER_S, VirtualClock

KEYS = {
    "version": None,
    "pid": None,
    "uptime_s": None,
    "ended": None,
    "state": None,
    "problem": None,
    "spool": {
        "records", "bytes", "first_sequence", "last_sequence", "unacked", "oldest_age_s",
        "coarsest_s", "appended", "appended_bytes", "refused", "merged", "dropped", "damaged",
        "epochs", "held", "held_bytes", "held_merged", "held_dropped",
    },
    "uplink": {
        "collector", "connected", "acked", "refused", "reconnects", "sent_bytes", "last_error",
    },
    "sensing": {"alive", "pid", "restarts", "payloads", "done", "left_out"},
    "cost": {"agent", "sensing", "merging"},
}  # fmt: skip


def test_the_file_says_what_the_stages_say(tmp_path: Path) -> None:
    async def test() -> None:
        clock = VirtualClock(0)
        spool = ThreadedSpool(Spool(tmp_path / "spool", bytes(range(16))))
        intake = Intake(spool)
        child = SensingChild(Start({}, {}), intake)
        uplink = UplinkState(acked=4, refused=1, streams=3, last_error="a sentence")
        path = tmp_path / "status.json"
        status = StatusFile(path, "localhost:1", clock, spool, intake, child, uplink)
        await spool.append([(b"payload", b""), (b"another", b"")])
        intake.put(b"waits", b"")
        clock.sleep_until(7 * NS_PER_S)
        status.write()
        parsed = json.loads(path.read_text())
        assert {key: set(value) if isinstance(value, dict) else None
                for key, value in parsed.items()} == KEYS  # fmt: skip
        assert (parsed["uptime_s"], parsed["ended"], parsed["state"]) == (7, False, "ok")
        assert parsed["spool"]["unacked"] == parsed["spool"]["last_sequence"] == 2
        assert parsed["spool"]["held"] == 1
        assert parsed["uplink"]["reconnects"] == 2
        assert parsed["uplink"]["last_error"] == "a sentence"
        assert parsed["sensing"]["alive"] is False
        assert parsed["cost"]["sensing"]["cpu_ms"] is None
        assert parsed["cost"]["agent"]["cpu_ms"] > 0
        assert parsed["cost"]["agent"]["memory_bytes"] > 1 << 20
        assert parsed["cost"]["agent"]["memory_kind"] in ("pss", "rss")
        intake.problem = "the disk is full"
        status.write(ended=True)
        parsed = json.loads(path.read_text())
        assert (parsed["state"], parsed["problem"]) == ("degraded", "the disk is full")
        assert parsed["ended"] is True
        await spool.close()

    asyncio.run(test())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["status.json"]


def test_trouble_with_the_spool_is_said_with_its_age(tmp_path: Path) -> None:
    async def test() -> None:
        clock = VirtualClock(1_790_000_000 * NS_PER_S)
        inner = Spool(tmp_path / "spool", bytes(range(16)), unix_ns=clock.unix_ns)
        spool = ThreadedSpool(inner)
        intake = Intake(spool)
        child = SensingChild(Start({}, {}), intake)
        status = StatusFile(
            tmp_path / "status.json", "localhost:1", clock, spool, intake, child, UplinkState()
        )
        assert status.status()["spool"]["oldest_age_s"] == 0
        await spool.append([(b"payload", b"")])
        clock.sleep_until(90 * NS_PER_S)
        said = status.status()
        assert (said["state"], said["spool"]["oldest_age_s"]) == ("ok", 90)
        assert (said["spool"]["appended"], said["spool"]["appended_bytes"]) == (1, 7)
        (record,) = await spool.read_from(START, 1)
        (tmp_path / "spool" / "cursor.new").mkdir()  # the cursor cannot be written
        await spool.ack(record.position)
        said = status.status()
        assert said["state"] == "degraded"
        assert "spool cannot be written: Is a directory" in said["problem"]
        assert said["spool"]["oldest_age_s"] == 0
        await spool.close()

    asyncio.run(test())


def test_a_folder_that_is_gone_is_no_reason_to_end(tmp_path: Path) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path / "spool", bytes(range(16))))
        intake = Intake(spool)
        child = SensingChild(Start({}, {}), intake)
        gone = tmp_path / "gone" / "status.json"
        StatusFile(
            gone, "localhost:1", VirtualClock(0), spool, intake, child, UplinkState()
        ).write()
        assert not gone.exists()
        await spool.close()

    asyncio.run(test())


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path / "spool", bytes(range(16))))
        intake = Intake(spool)
        child = SensingChild(Start({}, {}), intake)
        path = tmp_path / "folder" / "status.json"
        parts = (spool, intake, child, UplinkState())
        status = StatusFile(path, "localhost:1", VirtualClock(0), *parts)
        for _ in range(3):
            status.write()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        path.parent.mkdir()
        status.write()
        assert path.exists()
        path.unlink()
        path.parent.rmdir()
        status.write()
        assert [r.levelname for r in caplog.records if r.levelname == "WARNING"] == ["WARNING"] * 2
        await spool.close()

    asyncio.run(test())
