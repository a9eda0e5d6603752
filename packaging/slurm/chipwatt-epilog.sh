#!/bin/sh
# Slurm epilog of a compute node: the job has ended.
# In slurm.conf:  Epilog=/etc/slurm/chipwatt-epilog.sh
PATH=/usr/local/bin:/usr/bin:/bin
export PATH
timeout 20 chipwatt workload slurm-epilog || true
