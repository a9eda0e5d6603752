"""Fuzzing of what a collector takes from the network: decode, validate, store."""
