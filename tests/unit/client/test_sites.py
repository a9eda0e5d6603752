"""The client's questions about sites over a real connection."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chipwatt import client as c
from chipwatt.v1 import placement_pb2 as pb
from fakes.placement_server import PlacementServer

HALL = c.SiteFactors(
    "hall",
    1_120_000,
    carbon_mg_per_kwh=300_000,
    carbon_forecast=(c.CarbonForecast(5, 2),),
    valid_from_unix_ns=4,
    valid_until_unix_ns=9,
)


def test_site_factors_are_kept(client: c.PlacementClient) -> None:
    kept = client.put_site_factors(HALL)
    assert kept == client.site_factors("hall")
    assert replace(kept, received_unix_ns=0) == HALL
    assert kept.received_unix_ns > 0
    with pytest.raises(c.NotKnown, match="site_id: no factors of it"):
        client.site_factors("yard")


def test_a_window_is_asked_and_answered_part_by_part(
    client: c.PlacementClient, server: PlacementServer
) -> None:
    kept = client.put_site_factors(HALL)
    window = client.site_window("hall", start_unix_ns=5, end_unix_ns=7)
    assert server.requests[-1] == pb.GetSiteFactorsRequest(
        site_id="hall", start_unix_ns=5, end_unix_ns=7
    )
    cut = replace(kept, valid_from_unix_ns=5, valid_until_unix_ns=7)
    assert window == c.SiteWindow(kept, 1_500, 300_000, 300_000, (cut,))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pue_ppm", math.nan),
        ("water_ml_per_kwh", -1),
        ("carbon_mg_per_kwh", math.nan),
        ("carbon_mg_per_kwh", math.inf),
        ("valid_until_unix_ns", 2**63),
        ("carbon_forecast", (c.CarbonForecast(1, -1),)),
    ],
)
def test_what_is_no_number_of_its_field_is_refused_here(
    client: c.PlacementClient, server: PlacementServer, field: str, value: object
) -> None:
    with pytest.raises(c.InvalidRequest, match="is nothing that can be sent"):
        client.put_site_factors(replace(HALL, **{field: value}))  # type: ignore[arg-type]
    assert not server.requests
