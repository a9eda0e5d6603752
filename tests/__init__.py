"""The tests, benchmarks and fakes; a package so that ``python -m tests.bench.X`` finds ours."""
