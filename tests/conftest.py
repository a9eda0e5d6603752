"""What tests share: recorded data, fake hardware."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fakes import nvml
from fakes.powercap import PowercapTree

ROOT = Path(__file__).resolve().parents[1]

# How long an example takes says what else the machine does.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    """Undo what a program that ran in this process has set for itself and its children."""
    before = os.environ.get("GRPC_VERBOSITY")
    yield
    if before is None:
        os.environ.pop("GRPC_VERBOSITY", None)
    else:
        os.environ["GRPC_VERBOSITY"] = before


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of recorded data; skips where it is not on this machine."""
    folder = Path(os.environ.get("CHIPWATT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "power").is_dir():
        pytest.skip(f"no recorded data in {folder}: set CHIPWATT_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def fake_nvml() -> Path:
    """Return the folder with the fake ``libnvidia-ml.so.1``, for LD_LIBRARY_PATH."""
    return nvml.library_folder()


@pytest.fixture
def powercap(tmp_path: Path) -> Iterator[PowercapTree]:
    """Return an empty powercap tree."""
    tree = PowercapTree(tmp_path)
    yield tree
    tree.close()
