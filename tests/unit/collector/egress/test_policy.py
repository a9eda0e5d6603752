import pytest

from chipwatt.collector.access.role import Role
from chipwatt.collector.egress.config import PrivacyConfig, Tier
from chipwatt.collector.egress.policy import COARSE, EVERYTHING, view_of


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("role", Role)
def test_every_role_under_every_tier(role: Role, tier: Tier) -> None:
    expected = {
        Role.OPERATOR: EVERYTHING,
        Role.EGRESS: EVERYTHING if tier is Tier.OPERATOR else COARSE,
    }
    assert view_of(role, tier) == expected.get(role)


def test_nothing_of_a_minute_is_shown_before_it_has_settled() -> None:
    minute_ns = 60_000_000_000
    assert COARSE.ends_by(10 * minute_ns + 29_999_999_999) == 9 * minute_ns
    assert COARSE.ends_by(10 * minute_ns + 30_000_000_000) == 10 * minute_ns


@pytest.mark.parametrize(
    ("given", "said"),
    [({"egress": "secret"}, "none of confidential"), ({"dp_daily_epsilon": 0}, "at least 1")],
)
def test_settings_that_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PrivacyConfig(**given)  # type: ignore[arg-type]
