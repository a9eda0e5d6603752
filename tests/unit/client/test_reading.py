"""Messages and dataclasses say the same, whatever they hold."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.client import decisions as d
from chipwatt.client import placement_values as v
from chipwatt.client.channel import InvalidRequest
from chipwatt.client.reading import read, word, words, write
from chipwatt.v1 import placement_pb2 as pb

PAIRS: tuple[tuple[type, type], ...] = (
    (v.TopologyInfo, pb.GetTopologyResponse),
    (v.PeakInfo, pb.PredictPeakResponse),
    (v.PowerProfile, pb.PowerProfile),
    (v.ProfilesInfo, pb.ListProfilesResponse),
    (v.SiteFactors, pb.SiteFactors),
    (v.SiteWindow, pb.GetSiteFactorsResponse),
    (v.Selector, pb.Selector),
    (d.Demand, pb.Demand),
    (d.Objective, pb.Objective),
    (d.Ranking, pb.RankCandidatesResponse),
    (d.WhatIfInfo, pb.WhatIfResponse),
    (d.Reservation, pb.Reservation),
    (d.EventNotice, pb.WatchPowerEventsResponse),
)
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def values(field: FieldDescriptor, least: int = 0) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.text(st.characters(codec="utf-8"), min_size=least, max_size=5)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    return st.integers(*_BITS[field.cpp_type])


def messages(descriptor: Any) -> st.SearchStrategy[Any]:
    """Any message of the type, its nested messages set, as a collector always sets them."""
    cls = getattr(pb, descriptor.name)

    @st.composite
    def one(draw: st.DrawFn) -> Any:
        message = cls()
        for field in descriptor.fields:
            part, is_choice = getattr(message, field.name), field.containing_oneof is not None
            if field.message_type and field.message_type.GetOptions().map_entry:
                part.update(draw(st.dictionaries(st.sampled_from("ab"), st.just("x"))))
            elif field.is_repeated:
                part.extend(draw(st.lists(values(field), max_size=2)))
            elif not is_choice or draw(st.booleans()):
                value = draw(values(field, least=int(is_choice)))
                if field.message_type is None:
                    setattr(message, field.name, value)
                else:
                    part.CopyFrom(value)
                    part.SetInParent()
        return message

    return one()


@pytest.mark.parametrize(("cls", "message_cls"), PAIRS, ids=lambda pair: pair.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_read_is_what_was_written(cls: type, message_cls: Any, data: st.DataObject) -> None:
    message = data.draw(messages(message_cls.DESCRIPTOR))
    assert write(read(cls, message), message_cls()) == message


def test_enums_are_words() -> None:
    event = pb.PowerEvent(kind=pb.POWER_EVENT_KIND_OVER_BUDGET, severity=pb.SEVERITY_CRITICAL)
    got = read(d.PowerEvent, event)
    assert (got.kind, got.cleared_kind, got.severity) == ("over_budget", "", "critical")
    assert read(v.Provenance, pb.Provenance(quality=[pb.QUALITY_COLD_START])).quality == (
        "COLD_START",
    )
    assert words(pb.Severity.DESCRIPTOR) == ("info", "warning", "critical")


def test_a_newer_collectors_word_is_its_number() -> None:
    assert word(77, pb.Severity.DESCRIPTOR) == "77"
    assert read(d.PowerEvent, pb.PowerEvent(kind=99)).kind == "99"  # type: ignore[arg-type]


def test_a_word_that_is_none_is_refused_with_the_right_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"kinds: 'rak' is none of site, feed, .*host, chip"):
        write(v.Selector(kinds=("rak",)), pb.Selector())


def test_what_is_not_set_is_none() -> None:
    assert read(v.Provenance, pb.Provenance()).calibration is None
    assert read(d.Demand, pb.Demand(class_id="ab")).inline is None
