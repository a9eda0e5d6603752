"""How far answers can be trusted, by the hosts beneath."""

from __future__ import annotations

from chipwatt.collector.forecast.contract import MODEL_VERSION, Calibration, Predictor
from chipwatt.collector.placement.trust import Quality, Trust, coverage_ppm, provenance_message
from chipwatt.v1 import placement_pb2 as pb
from unit.collector.placement.test_headroom import constant, latest_of, outlook_at, site


def test_trust_beneath_one_node() -> None:
    outlook = outlook_at(site(), latest_of(constant(1, 1), None))
    assert outlook.trust_of_all().reporting_ppm == 500_000
    assert outlook.trust_beneath(outlook.topology.index["h0"]).reporting_ppm == 1_000_000


def test_an_answer_says_what_it_rests_on() -> None:
    plain = Trust(7, 8, 9, (Quality.STALE, Quality.COLD_START))
    message = provenance_message(plain)
    assert (message.as_of_unix_ns, message.staleness_ms, message.reporting_ppm) == (7, 8, 9)
    assert list(message.quality) == [pb.QUALITY_STALE, pb.QUALITY_COLD_START]
    assert message.model_version == MODEL_VERSION
    assert not message.HasField("calibration")
    told = provenance_message(Trust(7, 8, 9, (), Predictor.CONFORMAL, 991_000, 5_000))
    assert told.predictor == pb.PREDICTOR_CONFORMAL
    assert (told.calibration.coverage_7d_ppm, told.calibration.scores) == (991_000, 5_000)


def test_coverage_in_parts_of_a_million() -> None:
    scored = Calibration(Predictor.CONFORMAL, 6, 600, 0.99, 1_000, 0.9912345, 0.1)
    assert coverage_ppm(scored) == 991_234
    nothing = Calibration(Predictor.CONFORMAL, 6, 600, 0.99, 0, float("nan"), float("nan"))
    assert coverage_ppm(nothing) == 0
