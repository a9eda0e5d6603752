from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.counter import modulus_of_range

REGISTER = 1 << 32


@pytest.mark.parametrize(
    ("range_uj", "modulus_uj", "step_uj"),
    [
        (262_143_328_850, 262_143_328_911, 62),  # 2^-14 J as the kernel keeps it, 61035 nJ
        (65_532_610_987, 65_532_611_002, 16),  # 2^-16 J, 15258 nJ
        (65_712_999_613, 65_712_999_629, 16),  # the 15.3 µJ of server DRAM
        (262_143_999_938, 262_144_000_000, 62),  # a kernel that does not truncate 2^-14 J
        (4_294_967_295_000_000, 4_294_967_296_000_000, 1_000_000),  # platform domain in whole J
        (999, 1000, 1),
        (0, 0, 1),
    ],
)
def test_known_ranges(range_uj: int, modulus_uj: int, step_uj: int) -> None:
    assert modulus_of_range(range_uj) == (modulus_uj, step_uj)


@given(unit_nj=st.integers(min_value=1000, max_value=2_000_000_000))
def test_the_modulus_is_one_step_past_the_range(unit_nj: int) -> None:
    """For every unit that the kernel can hold, as its own arithmetic gives the range."""
    range_uj = (REGISTER - 1) * unit_nj // 1000
    modulus_uj, step_uj = modulus_of_range(range_uj)
    assert abs(modulus_uj * 1000 - REGISTER * unit_nj) <= 500
    assert step_uj == -(-unit_nj // 1000)


@given(
    unit_nj=st.integers(min_value=1000, max_value=1_000_000),
    before=st.integers(min_value=0, max_value=REGISTER - 1),
    consumed=st.integers(min_value=0, max_value=REGISTER - 1),
)
def test_a_wrapped_difference_is_the_energy(unit_nj: int, before: int, consumed: int) -> None:
    modulus_uj, step_uj = modulus_of_range((REGISTER - 1) * unit_nj // 1000)
    after = (before + consumed) % REGISTER
    difference_uj = (after * unit_nj // 1000 - before * unit_nj // 1000) % modulus_uj
    error_uj = (difference_uj - consumed * unit_nj // 1000) % modulus_uj
    # Two truncations and half a µJ of the modulus, below one step of the counter.
    assert min(error_uj, modulus_uj - error_uj) <= 2
    assert step_uj >= 1
