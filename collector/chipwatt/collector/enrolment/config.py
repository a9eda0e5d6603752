"""Settings of enrolment; switched off by default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chipwatt.core.addresses import split_address


@dataclass(frozen=True, slots=True)
class EnrolmentConfig:
    """``[enrolment]``."""

    authority: Path | None = None
    """Folder that `chipwatt certs init` made. With it this collector renews certificates, and
    whoever takes this machine over can issue any; not set: certificates come from elsewhere."""
    listen: str = ""
    """Address and port for agents that have a bootstrap token and no certificate yet, for example
    "0.0.0.0:9735"; it needs [tls] and the authority. Empty: none are enrolled."""
    days: int = 90
    """How long a certificate lasts that was enrolled or renewed."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError."""
        if not 1 <= self.days <= 3650:
            raise ValueError("days is a number from 1 to 3650")
        if self.listen:
            split_address(self.listen)
            if self.authority is None:
                raise ValueError("listen: enrolment needs the authority's folder: set authority")
