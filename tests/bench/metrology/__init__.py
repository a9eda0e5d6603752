"""Every source against a known truth: loads and faults in, errors out.

``python -m tests.bench.metrology`` starts the real sensing process over fakes that play
each load in real time and compares what it ships with what the fake's chip really
drew. See ``tests/bench/README.md`` for the table.
"""
