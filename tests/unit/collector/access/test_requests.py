"""Lists of submessages are counted, whatever their fields are called."""

from __future__ import annotations

import pytest

from chipwatt.collector.access.denied import Denied
from chipwatt.collector.access.requests import MAX_SUBMESSAGES, _lists, check_lists
from chipwatt.collector.placement.site_factors import MAX_FORECAST
from chipwatt.collector.placement.whatif import MAX_CHANGES
from chipwatt.v1 import placement_pb2, query_pb2, telemetry_pb2


def test_every_list_in_a_request_is_known() -> None:
    found = {
        method.input_type.name: tuple(
            path for path, _ in _lists(getattr(module, method.input_type.name))
        )
        for module in (placement_pb2, query_pb2, telemetry_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {name: paths for name, paths in found.items() if paths} == {
        "GetHeadroomRequest": ("selector.labels",),
        "WatchPowerEventsRequest": ("selector.labels",),
        "WhatIfRequest": ("changes",),
        "PutSiteFactorsRequest": ("factors.carbon_forecast",),
    }


def test_as_many_as_an_rpc_takes_pass_and_one_more_does_not() -> None:
    assert max(MAX_CHANGES, MAX_FORECAST) == MAX_SUBMESSAGES
    changes = b"\x12\x00" * MAX_SUBMESSAGES
    check_lists(placement_pb2.WhatIfRequest.FromString(changes))
    with pytest.raises(Denied, match="changes: 1001 entries, at most 1000"):
        check_lists(placement_pb2.WhatIfRequest.FromString(changes + b"\x12\x00"))
    labels = {str(number): "" for number in range(MAX_SUBMESSAGES + 1)}
    request = placement_pb2.GetHeadroomRequest()
    request.selector.labels.update(labels)
    with pytest.raises(Denied, match=r"selector\.labels: 1001 entries"):
        check_lists(request)
