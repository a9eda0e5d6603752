"""Row 11: an OTLP back end that is slow, fails, refuses, or takes only some of it."""

from __future__ import annotations

import grpc

from e2e.faults.bench import Bench, free_port
from e2e.faults.rows import Case, Counts, row
from e2e.programs import until
from fakes.otlp_sink import Answer, OtlpSink

OTLP = {"interval": "1s", "settle": "0s"}
ONE_TENANT = {"egress": "operator"}
"""Without it no interval is shorter than a minute."""


def _undisturbed(bench: Bench, seconds: int) -> None:
    """Acks go on whatever the back end does."""
    bench.begin()
    bench.more(seconds, 10 + 2 * seconds)
    host = bench.host
    until(lambda: host.running.status()["spool"]["unacked"] <= 1, 5, "acks beside the export")


@row(11, "OTLP back end that refuses connections")
def refused(case: Case) -> Counts:
    otlp = {**OTLP, "endpoint": f"http://127.0.0.1:{free_port()}"}
    with Bench(case, settings={"privacy": ONE_TENANT, "otlp": otlp, "own_metrics": False}) as bench:
        _undisturbed(bench, case.pick(3, 30))
        assert bench.status().otlp_points_sent == 0
        return bench.finish()


@row(11, "OTLP back end that fails, holds each answer and rejects some points")
def misbehaving(case: Case) -> Counts:
    bad = [
        Answer(grpc.StatusCode.UNAVAILABLE),
        Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=0.5),
        Answer(hold_s=3),
        Answer(grpc.StatusCode.UNAVAILABLE, is_kept=True),
        Answer(rejected=2, said="two points too many"),
    ]
    with OtlpSink("127.0.0.1:0", *bad) as sink:
        otlp = {**OTLP, "endpoint": sink.endpoint}
        with Bench(
            case, settings={"privacy": ONE_TENANT, "otlp": otlp, "own_metrics": False}
        ) as bench:
            _undisturbed(bench, case.pick(3, 30))
            until(lambda: not sink.answers, 60, "every bad answer was given")
            until(lambda: bench.status().otlp_points_rejected == 2, 20, "rejected points counted")
            sink.wait_for(3)
            offered = [request.SerializeToString() for request in sink.offered]
            partial = offered[len(bad) - 1]
            assert offered.count(partial) - offered[: len(bad) - 1].count(partial) == 1, (
                "a partial success is not sent again"
            )
            return bench.finish()
