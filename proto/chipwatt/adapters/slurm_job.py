"""A Slurm job as a binding, from what slurmd tells its prolog and epilog.

The workload id is the cluster's name as a checksum and the job's number: the
scheduler's own words, none of the user's. The class is what the site says of the
job's partition. Of the environment five variables are read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

from chipwatt.adapters.cgroups import ROOT, of_slurm_job
from chipwatt.adapters.gpus import Gpus, together
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ConfigError
from chipwatt.core.workload import Binding


def workload_id(environment: Mapping[str, str]) -> bytes:
    """Return the id of the job, the same on all of its hosts.

    Raises ConfigError where this is no prolog.
    """
    cluster = zlib.crc32(environment.get("SLURM_CLUSTER_NAME", "").encode())
    return cluster.to_bytes(4) + _number(environment, "SLURM_JOB_ID").to_bytes(12)


def binding(
    environment: Mapping[str, str],
    gpus: Gpus,
    classes: Mapping[str, bytes],
    root: Path = ROOT,
) -> Binding:
    """Return what a job holds of this host; ``classes`` are by partition.

    Raises ConfigError where this is no prolog, NoSuchGpu.
    """
    job = _number(environment, "SLURM_JOB_ID")
    uid = _number(environment, "SLURM_JOB_UID")
    names = environment.get("SLURM_JOB_GPUS", "")
    held = [gpus.find(name.strip()) for name in names.split(",") if name.strip()]
    return Binding(
        workload_id(environment),
        classes.get(environment.get("SLURM_JOB_PARTITION", ""), NOBODY),
        of_slurm_job(job, uid, root),
        together(held),
    )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:
        raise ConfigError(f"{name} is no number: this is for slurmd's Prolog and Epilog")
    return int(text)
