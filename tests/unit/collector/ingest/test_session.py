"""The answers on one stream, without a network."""

from __future__ import annotations

import asyncio

import hypothesis.strategies as st
from hypothesis import given, settings

from chipwatt.collector.ingest.commit import Outcome
from chipwatt.collector.ingest.identity import Identity
from chipwatt.collector.ingest.session import MAX_IN_FLIGHT, Session
from chipwatt.v1 import telemetry_pb2 as pb

OUTCOMES = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from(list(Outcome))), max_size=MAX_IN_FLIGHT
)
Key = tuple[int, int]


@settings(deadline=None)
@given(OUTCOMES, st.data())
def test_an_ack_covers_only_what_is_stored(
    outcomes: list[tuple[int, Outcome]], data: st.DataObject
) -> None:
    asyncio.run(_scenario(outcomes, data))


async def _scenario(outcomes: list[tuple[int, Outcome]], data: st.DataObject) -> None:
    session = Session(Identity(b"h" * 16, "h"))
    loop = asyncio.get_running_loop()
    futures: dict[Key, asyncio.Future[Outcome]] = {}
    wanted: dict[Key, Outcome] = {}
    for sequence, (epoch, outcome) in enumerate(outcomes, 1):
        await asyncio.wait_for(session.slot(), 1)
        futures[epoch, sequence] = loop.create_future()
        wanted[epoch, sequence] = outcome
        session.owe(pb.Batch(spool_epoch=epoch, sequence=sequence), futures[epoch, sequence])
    acked: set[Key] = set()
    refused: list[Key] = []
    for key in data.draw(st.permutations(list(wanted))):
        futures[key].set_result(wanted[key])
        for reply in session.replies():
            if reply.HasField("refusal"):
                refused.append((reply.refusal.spool_epoch, reply.refusal.sequence))
                continue
            covered = [
                (epoch, sequence)
                for epoch, sequence in wanted
                if epoch == reply.ack.spool_epoch and sequence <= reply.ack.sequence
            ]
            for one in covered:
                assert futures[one].done()
                assert wanted[one] is Outcome.STORED or one in refused
            acked.update(covered)
    stored = {key for key, outcome in wanted.items() if outcome is Outcome.STORED}
    assert stored <= acked
    assert refused == [key for key in wanted if key not in stored]
    for _ in range(MAX_IN_FLIGHT):
        await asyncio.wait_for(session.slot(), 1)


def test_a_pause_acks_nothing_new() -> None:
    async def scenario() -> None:
        session = Session(Identity(b"h" * 16, "h"))
        session.pause(1500)
        (reply,) = session.replies()
        assert (reply.ack.sequence, reply.ack.pause_ms) == (0, 1500)
        assert list(session.replies()) == []

    asyncio.run(scenario())
