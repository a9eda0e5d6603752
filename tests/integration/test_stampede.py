"""Row 19: far more agents at once than a collector takes. It sheds by code; all get through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio

from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.ingest.admission import OPENINGS_DELAY_S, STREAMS_DELAY_S
from chipwatt.collector.ingest.servicer import Ingest
from chipwatt.collector.listening import bind, make_server
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.retry_hint import retry_delay_s
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.uplink_rig import run
from unit.collector.ingest.agents import wire
from unit.collector.store.batches import FakeHost

AGENTS, ROOM = 300, 60
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


class Crowd:
    """Agents that all come at once, and come again when they are told to, at a hundredfold pace."""

    def __init__(self, address: str, ingest: Ingest) -> None:
        self._address, self._ingest = address, ingest
        self.hints_s: list[float] = []
        self.most_connected = 0
        self._answered: set[bytes] = set()
        self._all_answered = asyncio.Event()

    def _note(self, host: FakeHost) -> None:
        self._answered.add(host.host)
        if len(self._answered) == AGENTS:
            self._all_answered.set()

    async def deliver(self, host: FakeHost) -> None:
        """Have one batch acked, however often the collector says no."""
        batch = wire(host.batch())
        while True:
            async with grpc.aio.insecure_channel(self._address, OWN_CONNECTION) as channel:
                try:
                    return await self._once(channel, host, batch)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    hint_s = retry_delay_s(tuple(error.trailing_metadata() or ()))
            self._note(host)
            assert hint_s is not None
            self.hints_s.append(hint_s)
            await asyncio.sleep(hint_s / 100)

    async def _once(self, channel: grpc.aio.Channel, host: FakeHost, batch: pb.Batch) -> None:
        call = telemetry_pb2_grpc.TelemetryServiceStub(channel).Stream()
        hello = pb.Hello(schema_version=1, host_id=host.host, boot_id=bytes(16))
        await call.write(pb.StreamRequest(hello=hello))
        answer = await call.read()
        assert isinstance(answer, pb.StreamResponse)
        assert answer.HasField("welcome")
        self.most_connected = max(self.most_connected, len(self._ingest.connected()))
        await call.write(pb.StreamRequest(batch=batch))
        answer = await call.read()
        assert isinstance(answer, pb.StreamResponse)
        assert answer.ack.sequence == batch.sequence
        self._note(host)
        await self._all_answered.wait()  # others meet a full house, however slowly they come
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


def test_a_stampede_is_shed_by_code_and_everybody_gets_through(tmp_path: Path) -> None:
    config = CollectorConfig(listen="127.0.0.1:0", state_dir=tmp_path)

    async def test() -> None:
        store = SqliteStore(config.store_config())
        ingest = Ingest(store, max_streams=ROOM)
        server = make_server(config)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
        address = bind(server, config)
        ingest.start()
        await server.start()
        crowd = Crowd(address, ingest)
        try:
            await asyncio.gather(*(crowd.deliver(FakeHost(n)) for n in range(1, AGENTS + 1)))
            assert store.totals().batches == AGENTS
            assert ingest.counters.duplicates == ingest.counters.conflicts == 0
        finally:
            await ingest.drain()
            await server.stop(None)
            store.close()
        assert ingest.admission.shed == len(crowd.hints_s) > AGENTS - 2 * ROOM
        assert crowd.most_connected <= ROOM + 64
        assert min(crowd.hints_s) >= OPENINGS_DELAY_S[0]
        assert max(crowd.hints_s) <= STREAMS_DELAY_S[1]
        assert len({round(hint_s, 2) for hint_s in crowd.hints_s}) > 20, "not all at once again"

    run(test())
