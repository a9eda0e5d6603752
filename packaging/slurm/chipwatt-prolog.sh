#!/bin/sh
# Slurm prolog of a compute node: says to the local agent which chips and which cgroup a job gets.
# In slurm.conf:  Prolog=/etc/slurm/chipwatt-prolog.sh  and  PrologFlags=Alloc,Contain
# Slurm gives prologs no search path.
PATH=/usr/local/bin:/usr/bin:/bin
export PATH
# Telemetry never keeps a job from starting: a prolog that fails drains its node.
timeout 20 chipwatt workload slurm-prolog --classes /etc/chipwatt/classes.toml || true
