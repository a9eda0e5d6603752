"""A placement server with known answers, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chipwatt import client as c
from fakes.placement_server import PlacementServer, placement_server


@pytest.fixture
def server() -> Iterator[PlacementServer]:
    with placement_server(PlacementServer()) as one:
        yield one


@pytest.fixture
def client(server: PlacementServer) -> Iterator[c.PlacementClient]:
    with c.PlacementClient(server.address) as one:
        yield one
