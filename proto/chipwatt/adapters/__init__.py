"""Shims through which schedulers ask a collector without code of their own."""
