"""Edges of every sensor to device windows, host seconds and gaps, in chores of a fraction of 1 ms.

``Reducer`` is the door. Time is cut into blocks of one wall-clock second
(``grid``). For each sensor (``track``) and block the edges become a partial
(``block``: cells, peaks, ramps); partials add up to a window (``window``,
``swing``) and, over the root domains, to a host second (``host_second``).
"""
