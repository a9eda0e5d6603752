"""``/metrics`` for those who pull: what the OTLP export would send, as its newest points.

Intervals, names, attributes and what is confidential are those of the export, because the
same encoder makes the points; only the way out differs. Names are those that Prometheus makes of
OTLP's, so a dashboard works on either.
"""
