"""The fault matrix: every row a set of tests on real programs, each audited by a reference ledger.

``python -m tests.e2e.faults`` runs the quick subset, ``--full`` all of it. What
fails is the machine around the programs, never a part of them: disks, networks,
clocks, sensors, peers, processes.
"""
