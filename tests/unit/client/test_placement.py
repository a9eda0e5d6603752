"""The placement client over a real connection: what is sent, what comes back, what goes wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from chipwatt import client as c
from chipwatt.client.channel import Channel
from chipwatt.core.errors import ChipwattError, CollectorUnreachable
from chipwatt.v1 import placement_pb2 as pb
from fakes.placement_server import KNOWN_CLASS, PlacementServer

JOB = c.Demand(inline=c.InlineProfile(mean_mw=300_000, peak_mw=700_000, swing_class=2), replicas=2)


def test_a_rank_is_asked_and_answered_in_full(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    ranking = client.rank(
        JOB, ["n2", "nowhere"], horizon_s=60, quantile_ppm=950_000,
        objective=c.Objective(carbon_ppm=5), limit=9,
    )  # fmt: skip
    (asked,) = server.requests
    assert asked == pb.RankCandidatesRequest(
        demand=pb.Demand(
            inline=pb.InlineProfile(mean_mw=300_000, peak_mw=700_000, swing_class=2), replicas=2
        ),
        candidates=["n2", "nowhere"],
        horizon_s=60,
        quantile_ppm=950_000,
        objective=pb.Objective(carbon_ppm=5),
        limit=9,
    )
    best, other = ranking.candidates
    assert (best.host_id, best.feasible, best.headroom_after_mw) == ("n2", True, 8_600_000)
    assert (other.feasible, other.reasons) == (False, ("unknown_host",))
    assert ranking.provenance.calibration == c.Calibration(991_000, 5_000)
    assert (ranking.placement_id, ranking.snapshot_id) == ("p-1", "s-1")


def test_weights_of_nothing_are_sent_and_not_the_default(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    client.rank(JOB, objective=c.Objective())
    (asked,) = server.requests
    assert isinstance(asked, pb.RankCandidatesRequest)
    assert asked.HasField("objective")


def test_what_no_message_can_hold_is_refused_by_its_field(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    def refused(ask: Callable[[], object]) -> str:
        with pytest.raises(c.InvalidRequest) as caught:
            ask()
        return str(caught.value)

    nan: Any = math.nan
    word: Any = "all"
    negative = c.Demand(inline=c.InlineProfile(mean_mw=0, peak_mw=-5))
    assert refused(lambda: client.rank(negative)).startswith("peak_mw: -5 is nothing that can")
    endless = c.Demand(inline=c.InlineProfile(0, nan))
    assert refused(lambda: client.reserve("k", "n1", endless)).startswith("peak_mw: nan")
    assert refused(lambda: client.rank(JOB, limit=-1)).startswith("limit: -1")
    assert refused(lambda: client.rank(JOB, [word, nan])).startswith("candidates: ['all', nan]")
    assert refused(lambda: client.headroom(quantiles_ppm=[1 << 40])).startswith("quantile_ppm: [1")
    assert refused(lambda: client.headroom(quantiles_ppm=word)).startswith("quantile_ppm: 'all'")
    assert refused(lambda: client.rank(JOB, ["\ud800"])).startswith("candidates: ")
    assert server.requests == []


def test_without_an_objective_none_is_sent(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    client.rank(c.Demand(class_id=KNOWN_CLASS))
    (asked,) = server.requests
    assert not asked.HasField("objective")
    assert asked.demand.WhichOneof("profile") == "class_id"


def test_changes_are_told_apart(client: c.PlacementClient, server: PlacementServer) -> None:
    answer = client.what_if(
        [
            c.PlaceChange("n1", JOB),
            c.RemoveChange("n1", 1),
            c.MoveChange("n1", "n2", 2),
            c.CapChange("n1", 0),
            c.BudgetChange("r", 3),
            c.FeedLoss("r"),
        ],
        snapshot_id="s-0",
    )
    (asked,) = server.requests
    kinds = [change.WhichOneof("kind") for change in asked.changes]
    assert kinds == ["place", "remove", "move", "cap", "budget", "feed_loss"]
    assert asked.changes[2].move.to_node_id == "n2"
    assert answer.unpowered_ids == ("n1", "n2")
    assert answer.effects[0].headroom_after_mw == 8_600_000


def test_a_reservation_lives_and_ends(client: c.PlacementClient) -> None:
    made = client.reserve("pod-1", "n1", JOB, ttl_s=30)
    assert client.reserve("pod-1", "n1", JOB, ttl_s=30) == made
    assert made.grants == (c.Grant("n1", 1_400_000), c.Grant("r", 1_400_000))
    assert made.demand == JOB
    assert made.is_live
    assert client.commit(made.reservation_id, "cd" * 16).workload_id == "cd" * 16
    assert [r.state for r in client.reservations("n1")] == ["committed"]
    assert client.release(made.reservation_id).is_live is False
    with pytest.raises(c.AlreadyTaken, match="another body"):
        client.reserve("pod-1", "n2", JOB)
    with pytest.raises(c.NoRoom, match="'r' lacks power"):
        client.reserve("pod-2", "n1", c.Demand(inline=c.InlineProfile(1, 10_000_001)))


def test_headroom_with_several_predictions(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    (rack,) = client.headroom(
        ["r"], selector=c.Selector(kinds=("rack",)), horizons_s=[60, 600],
        quantiles_ppm=[900_000], include_reservations=False,
    )  # fmt: skip
    assert [(p.horizon_s, p.quantile_ppm) for p in rack.predicted] == [
        (60, 900_000),
        (600, 900_000),
    ]
    (asked,) = server.requests
    assert asked.include_reservations is False
    assert asked.selector.kinds == [pb.NODE_KIND_RACK]
    with pytest.raises(c.InvalidRequest, match="kinds: 'rak' is none of"):
        client.headroom(selector=c.Selector(kinds=("rak",)))


def test_events_come_with_their_token(client: c.PlacementClient, server: PlacementServer) -> None:
    server.behaviour.events = [
        pb.WatchPowerEventsResponse(event=pb.PowerEvent(seq=n, node_id="r"), resume_token=f"t{n}")
        for n in (1, 2)
    ]
    got = list(client.watch_events(min_severity="warning", resume_token="t0"))
    assert [(n.event and n.event.seq, n.resume_token) for n in got] == [(1, "t1"), (2, "t2")]
    assert server.requests[0].min_severity == pb.SEVERITY_WARNING
    assert server.requests[0].resume_token == "t0"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, c.InvalidRequest),
        (grpc.StatusCode.NOT_FOUND, c.NotKnown),
        (grpc.StatusCode.ALREADY_EXISTS, c.AlreadyTaken),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, c.NoRoom),
        (grpc.StatusCode.FAILED_PRECONDITION, c.WrongState),
        (grpc.StatusCode.UNIMPLEMENTED, c.NotOffered),
        (grpc.StatusCode.INTERNAL, c.RequestRefused),
        (grpc.StatusCode.UNAVAILABLE, CollectorUnreachable),
    ],
)
def test_every_status_is_an_error_of_its_own(
    client: c.PlacementClient,
    server: PlacementServer,
    status: grpc.StatusCode,
    kind: type[ChipwattError],
) -> None:
    server.behaviour.abort = (status, "node_id: said the collector")
    for ask in (client.topology, lambda: list(client.watch_events())):
        with pytest.raises(ChipwattError) as told:
            ask()
        assert type(told.value) is kind
        assert told.value.__cause__ is None
        if kind is not CollectorUnreachable:
            assert str(told.value) == "node_id: said the collector"


def test_a_question_may_have_its_own_deadline(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    client.topology()
    server.behaviour.wait_s = 5.0
    began_s = time.monotonic()
    with pytest.raises(CollectorUnreachable, match=r"gave no answer within 0\.05 s"):
        client.rank(JOB, timeout_s=0.05)
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("asks_before", [True, False])
def test_a_closed_client_says_so(server: PlacementServer, asks_before: bool) -> None:
    """grpc alone ends the whole process where nothing was asked before."""
    client = c.PlacementClient(server.address)
    if asks_before:
        client.rank(JOB)
    client.close()
    with pytest.raises(ChipwattError, match="this client is closed"):
        client.rank(JOB)
    with pytest.raises(ChipwattError, match="this client is closed"):
        next(client.watch_events())
    client.close()


def test_a_closed_channel_ends_a_stream(server: PlacementServer) -> None:
    server.behaviour.events = [pb.WatchPowerEventsResponse(resume_token="t")]
    server.behaviour.stay_open = True
    client = c.PlacementClient(server.address)
    notices = client.watch_events()
    assert next(notices).resume_token == "t"
    client.close()
    with pytest.raises(c.RequestCancelled):
        next(notices)


def test_facts(client: c.PlacementClient, server: PlacementServer) -> None:
    peak = client.predict_peak("r", horizon_s=60, quantiles_ppm=[900_000], resolution_s=10)
    assert peak.peaks == (c.PredictedPeak(60, 900_000, 900_000),)
    assert peak.margin_mw == -5
    client.predict_peak(class_id=KNOWN_CLASS)
    assert [r.WhichOneof("subject") for r in server.requests] == ["node_id", "class_id"]
    (profile,) = client.profile(KNOWN_CLASS, hw_class="h100", phase="decode").profiles
    assert profile.phases == (c.PhaseLevel("decode", 7, 1_000_000),)
    client.profile(workload_id="cd" * 16)
    assert server.requests[-1] == pb.GetProfileRequest(workload_id="cd" * 16)
    assert client.profiles(hw_class="h100").profiles[0].hw_class == "h100"
    client.profiles(phase="idle")
    assert server.requests[-1] == pb.ListProfilesRequest(phase=pb.PHASE_IDLE)
    assert client.feedback("p-1", "n1", capped=True, throttled_s=4) == 1
    assert server.requests[-1] == pb.SubmitFeedbackRequest(
        placement_id="p-1", chosen_host_id="n1", capped=True, throttled_s=4
    )
    assert [topology.version for topology in client.watch_topology()] == [1, 2]
    assert client.topology("r", depth=1, as_of_unix_ns=7).version == 3
    assert server.requests[-1] == pb.GetTopologyRequest(root_id="r", depth=1, as_of_unix_ns=7)


def test_a_phase_or_a_state_that_is_none_is_refused_here(client: c.PlacementClient) -> None:
    for ask in (
        lambda: client.profile(KNOWN_CLASS, phase="lunch"),
        lambda: client.reservations(state="lost"),
        lambda: list(client.watch_events(min_severity="loud")),
    ):
        with pytest.raises(c.InvalidRequest, match="is none of"):
            ask()


def test_whoever_asks_everything_asks_about_placement_too() -> None:
    assert issubclass(c.CollectorClient, c.PlacementClient)
    assert issubclass(c.PlacementClient, Channel)
