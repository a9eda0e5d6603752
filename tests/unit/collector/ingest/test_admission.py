"""Who may come in now."""

from __future__ import annotations

from contextlib import ExitStack

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.ingest.admission import Admission, Busy
from chipwatt.core.retry_hint import retry_delay_s


@given(st.integers(1, 50), st.integers(0, 100))
def test_no_more_streams_than_there_is_room_for(most: int, others: int) -> None:
    admission = Admission(most)
    if others < most:
        admission.check(others)
        assert admission.shed == 0
        return
    with pytest.raises(Busy, match=f"{others} agents are connected") as refused:
        admission.check(others)
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 30 <= (retry_delay_s(refused.value.metadata) or 0) <= 60
    assert admission.shed == 1


def test_openings_are_counted_while_they_last_whatever_ends_them() -> None:
    admission = Admission(10, max_openings=2, uniform=lambda low, high: (low + high) / 2)
    with ExitStack() as open_now:
        for _ in range(2):
            open_now.enter_context(admission.opening())
        with pytest.raises(Busy, match="come again in 8 s") as refused, admission.opening():
            pass
        assert retry_delay_s(refused.value.metadata) == 8
    with pytest.raises(OSError, match="disk"), admission.opening():
        raise OSError("disk")
    with admission.opening(), admission.opening():
        pass
    assert admission.shed == 1
