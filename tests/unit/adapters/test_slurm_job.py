from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.adapters import slurm_job
from chipwatt.adapters.gpus import Gpus, NoSuchGpu
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ConfigError
from chipwatt.core.workload import parse_holding

GPUS = Gpus({n: parse_holding(f"gpu/{n}") for n in range(4)})
JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_UID": "1000",
    "SLURM_CLUSTER_NAME": "alps",
    "SLURM_JOB_PARTITION": "train",
    "SLURM_JOB_GPUS": "1,3",
    "SLURM_JOB_NAME": "secret-model",
}
CLASS = bytes(range(16))


def test_a_job_as_a_binding(tmp_path: Path) -> None:
    binding = slurm_job.binding(JOB, GPUS, {"train": CLASS}, tmp_path)
    assert binding.class_id == CLASS
    assert [str(holding) for holding in binding.devices] == ["gpu/1", "gpu/3"]
    assert binding.cgroup == "slurm/uid_1000/job_4711"
    assert binding.workload_id == slurm_job.workload_id(JOB)
    assert int.from_bytes(binding.workload_id[4:]) == 4711


def test_the_id_is_the_schedulers_and_none_of_the_users() -> None:
    mine = slurm_job.workload_id(JOB)
    assert slurm_job.workload_id({**JOB, "SLURM_JOB_NAME": "x", "SLURM_JOB_UID": "1"}) == mine
    assert slurm_job.workload_id({**JOB, "SLURM_CLUSTER_NAME": "jura"}) != mine
    assert slurm_job.workload_id({**JOB, "SLURM_JOB_ID": "4712"}) != mine


def test_a_job_without_gpus_or_class(tmp_path: Path) -> None:
    binding = slurm_job.binding({**JOB, "SLURM_JOB_GPUS": ""}, GPUS, {}, tmp_path)
    assert (binding.devices, binding.class_id) == ((), NOBODY)


def test_what_is_no_prolog(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SLURM_JOB_ID is no number"):
        slurm_job.workload_id({})
    with pytest.raises(ConfigError, match="SLURM_JOB_UID is no number"):
        slurm_job.binding({**JOB, "SLURM_JOB_UID": "root"}, GPUS, {}, tmp_path)
    with pytest.raises(NoSuchGpu):
        slurm_job.binding({**JOB, "SLURM_JOB_GPUS": "9"}, GPUS, {}, tmp_path)
