"""Typed client of the collector: what programs of others import."""
