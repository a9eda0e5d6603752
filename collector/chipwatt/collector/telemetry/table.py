"""Every metric of Chipwatt's own doing, as data, beside the one of the hardware's."""

from __future__ import annotations

from typing import Final

from chipwatt.collector.otlp.table import Instrument, Metric


def _metric(
    name: str, unit: str, instrument: Instrument, meaning: str, example: str, *attributes: str
) -> Metric:
    return Metric(name, unit, instrument, meaning, attributes, example, is_of_component=False)


_COUNTER, _GAUGE, _HISTOGRAM = Instrument.COUNTER, Instrument.GAUGE, Instrument.HISTOGRAM
_RULE = ("chipwatt.predictor", "chipwatt.node", "chipwatt.horizon", "chipwatt.quantile")

BATCHES: Final = _metric(
    "chipwatt.collector.batches", "{batch}", _COUNTER,
    "Batches of agents by what became of them, since the collector started.", "86400",
    "chipwatt.outcome",
)  # fmt: skip
RECORDS: Final = _metric(
    "chipwatt.collector.records", "{record}", _COUNTER,
    "Records stored, since the collector started.", "950400", "chipwatt.record",
)  # fmt: skip
STREAMS: Final = _metric(
    "chipwatt.collector.streams", "{stream}", _GAUGE, "Agents connected.", "100"
)
SHED: Final = _metric(
    "chipwatt.collector.streams.shed", "{stream}", _COUNTER,
    "Streams sent away for want of room, since the collector started.", "0",
)  # fmt: skip
MISSING: Final = _metric(
    "chipwatt.collector.batches.missing", "{batch}", _GAUGE,
    "Batches whose numbers lie between stored ones and that never came.", "0",
)  # fmt: skip
STORE_SIZE: Final = _metric(
    "chipwatt.collector.store.size", "By", _GAUGE,
    'Size of the store on disk, in whole MiB unless `privacy.egress` is `"operator"`.', "52428800",
)  # fmt: skip
STORE_FAILURES: Final = _metric(
    "chipwatt.collector.store.failures", "{commit}", _COUNTER,
    "Commits that failed and were tried again, since the collector started.", "0",
)  # fmt: skip
HOLES: Final = _metric(
    "chipwatt.collector.ledger.holes", "{hole}", _GAUGE,
    "Places where a counter went on and no stored window says by how much.", "0",
)  # fmt: skip
COMMIT_WAIT: Final = _metric(
    "chipwatt.collector.commit.wait", "s", _HISTOGRAM,
    "From a batch's arrival until it is on the disk; the longest of each commit.", "p99 0.05",
)  # fmt: skip
INGEST_LAG: Final = _metric(
    "chipwatt.collector.ingest.lag", "s", _HISTOGRAM,
    "Age of a batch's newest data when it came; the oldest of each commit.", "p50 1.1",
)  # fmt: skip
EXPORT_POINTS: Final = _metric(
    "chipwatt.collector.otlp.points", "{point}", _COUNTER,
    "Points exported by OTLP by what became of them, since the collector started.", "43200",
    "chipwatt.outcome",
)  # fmt: skip
EXPORT_LAG: Final = _metric(
    "chipwatt.collector.otlp.lag", "s", _GAUGE,
    "Age of the newest interval that the export has settled.", "95.2",
)  # fmt: skip
FORECAST_COVERAGE: Final = _metric(
    "chipwatt.forecast.coverage", "1", _GAUGE,
    "Share of peaks of the last seven days that stayed within the prediction.", "0.991", *_RULE,
)  # fmt: skip
FORECAST_PINBALL: Final = _metric(
    "chipwatt.forecast.pinball", "1", _GAUGE,
    "Mean pinball loss of those predictions at the quantile, as a share of rated power.",
    "0.0021", *_RULE,
)  # fmt: skip
FORECAST_WINDOWS: Final = _metric(
    "chipwatt.forecast.windows", "{window}", _GAUGE, "Peaks behind both.", "60480", *_RULE
)

AGENT_LAG: Final = _metric(
    "chipwatt.agent.lag", "s", _GAUGE,
    "Age of the newest data of the host: what its spool holds back, in time.", "11.3",
)  # fmt: skip
AGENT_UPTIME: Final = _metric(
    "chipwatt.agent.uptime", "s", _GAUGE, "Time since the sensing process started.", "86400"
)
AGENT_CPU: Final = _metric(
    "chipwatt.agent.cpu.utilization", "1", _GAUGE,
    "CPU time of the sensing process over time; 1 is one core.", "0.005",
)  # fmt: skip
AGENT_LIBRARY: Final = _metric(
    "chipwatt.agent.library.utilization", "1", _GAUGE,
    "Time spent inside vendor libraries over time.", "0.002",
)  # fmt: skip
AGENT_CALL: Final = _metric(
    "chipwatt.agent.call.duration", "s", _GAUGE,
    "How long one poll of a sensor takes; the slowest of the interface.", "0.0009",
    "chipwatt.interface",
)  # fmt: skip
AGENT_DEADLINES: Final = _metric(
    "chipwatt.agent.deadlines", "{deadline}", _COUNTER,
    "Polls that were due, by whether they began within 0.5 ms, since the collector started.",
    "864000", "chipwatt.outcome",
)  # fmt: skip
AGENT_ERRORS: Final = _metric(
    "chipwatt.agent.errors", "{error}", _COUNTER,
    "Polls that failed and were tried again, since the collector started.", "0",
)  # fmt: skip
AGENT_BROKEN: Final = _metric(
    "chipwatt.agent.sources.broken", "{source}", _GAUGE, "Sources that have stopped.", "0"
)

OF_FORECAST: Final = (FORECAST_COVERAGE, FORECAST_PINBALL, FORECAST_WINDOWS)
OF_COLLECTOR: Final = (
    BATCHES, RECORDS, STREAMS, SHED, MISSING, STORE_SIZE, STORE_FAILURES, HOLES, COMMIT_WAIT,
    INGEST_LAG, EXPORT_POINTS, EXPORT_LAG, *OF_FORECAST,
)  # fmt: skip
OF_AGENTS: Final = (
    AGENT_LAG, AGENT_UPTIME, AGENT_CPU, AGENT_LIBRARY, AGENT_CALL, AGENT_DEADLINES, AGENT_ERRORS,
    AGENT_BROKEN,
)  # fmt: skip
METRICS: Final = OF_COLLECTOR + OF_AGENTS
