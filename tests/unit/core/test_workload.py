from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.identity import DeviceId, parse_device
from chipwatt.core.model import DeviceKind
from chipwatt.core.workload import MAX_DEVICES, Binding, Holding, parse_holding, parse_id

WHO = bytes(range(16))
MANY = tuple(Holding(DeviceId(DeviceKind.CPU, n)) for n in range(1 + MAX_DEVICES))
HOLDINGS = st.builds(
    lambda device, parts, more: Holding(device, parts, parts + more),
    st.one_of(
        st.builds(DeviceId, st.sampled_from(DeviceKind), st.integers(0, 99)),
        st.builds(lambda uid: DeviceId(DeviceKind.GPU, 0, uid), st.integers(1 << 90, 1 << 120)),
    ),
    st.integers(1, 8),
    st.integers(0, 8),
)


@given(
    st.binary(min_size=16, max_size=16).filter(any),
    st.binary(min_size=16, max_size=16),
    st.lists(HOLDINGS, min_size=1, max_size=5, unique_by=lambda holding: holding.device),
)
def test_a_binding_comes_back_from_plain(who: bytes, kind: bytes, held: list[Holding]) -> None:
    whole = [Holding(h.device) if h.parts == h.of else h for h in held]
    binding = Binding(who, kind, "a.slice/b.scope", tuple(whole))
    assert Binding.from_plain(json.loads(json.dumps(binding.to_plain()))) == binding


@pytest.mark.parametrize(
    ("text", "holding"),
    [
        ("cpu/0", Holding(DeviceId(DeviceKind.CPU))),
        ("gpu/0000:c1:00.0=3/7", Holding(parse_device("gpu/0000:c1:00.0"), 3, 7)),
    ],
)
def test_holdings_as_people_write_them(text: str, holding: Holding) -> None:
    assert parse_holding(text) == holding
    assert str(holding) == text


@pytest.mark.parametrize("text", ["cpu", "cpu/0=8/7", "cpu/0=1", "cpu/0=a/b", "cpu/0=0/1", ""])
def test_what_is_no_holding(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_holding(text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workload_id": bytes(16)}, "workload_id"),
        ({"workload_id": b"short"}, "workload_id"),
        ({"class_id": b""}, "class_id"),
        ({"cgroup": "/sys/fs/cgroup/a"}, "cgroup"),
        ({"cgroup": "a/../../etc"}, "cgroup"),
        ({"cgroup": "a\nb"}, "cgroup"),
        ({"cgroup": "."}, "cgroup"),
        ({"cgroup": "././"}, "cgroup"),
        ({"cgroup": "x" * 1025}, "cgroup"),
        ({"cgroup": ""}, "devices"),
        ({"devices": (Holding(DeviceId(DeviceKind.CPU)),) * 2}, "devices"),
        (
            {
                "devices": tuple(
                    Holding(DeviceId(DeviceKind.CPU, n)) for n in range(1 + MAX_DEVICES)
                )
            },
            "devices",
        ),
    ],
)
def test_what_no_binding_can_be_names_its_field(changes: dict[str, object], field: str) -> None:
    whole: dict[str, object] = {"workload_id": WHO, "cgroup": "a.slice", **changes}
    with pytest.raises(ValueError, match=f"^{field}:"):
        Binding(**whole)  # type: ignore[arg-type]


def test_ids_are_hexadecimal_with_or_without_hyphens() -> None:
    assert parse_id("00010203-0405-0607-0809-0a0b0c0d0e0f") == parse_id(WHO.hex()) == WHO
    for text in ("", "12", "g" * 32, "\u0661" * 32):
        with pytest.raises(ValueError, match="no id"):
            parse_id(text)
