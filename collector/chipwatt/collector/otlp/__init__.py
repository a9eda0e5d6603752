"""OTLP export of energy, power and its profile to metrics back ends, each with its own cursor.

The way of the data: ``windows`` and ``gaps`` turn what was stored into rows and add these
up, ``intervals`` holds them until their interval ends, ``points`` makes columns of points
of rows (``streams`` and ``series`` know where each began and what it has summed up to),
``wire`` makes bytes of columns, ``request`` puts these under their hosts and metrics, in
``encode``. ``export`` moves the data, one for each destination; ``sender`` sends a request
until it is settled, through ``links`` (gRPC) or ``http_link``; ``retry`` judges answers.

What leaves is a table in ``table``, which ``packaging/otlp.md`` shows; ``semconv`` has resources
and attributes. Flags of a window change from one to the next, and as attributes they would
tear a series apart: ``chipwatt.coverage`` stands for PARTIAL, ``hw.status`` for SUSPECT,
and the query API has them all.

A stream of a counter begins with a point of no duration that carries the counter as it
stood, which says "the start is not known" in OTLP's data model: nothing is read into
the first value. A new counter epoch begins a stream; a new process of this exporter goes
on with the one before (``stream_book``). What a device that one workload holds alone may
tell is in ``shielded``.
"""
