"""OTLP export of energy and power to a metrics back end, with a cursor of its own.

``intervals`` adds windows and ``gaps`` up, ``semconv`` names things, ``encode`` writes requests,
``retry`` judges answers, ``export`` moves the data. What leaves, a point an
interval (60 s) each; names and units are those of the OpenTelemetry hardware
conventions where these have one, else begin with ``chipwatt.``:

=========================  ==================================================================
``hw.energy``              J, cumulative sum, double. The firmware's own counter of a root
                           domain (the ones that may be added up) as of the newest window's
                           end, the integer of µJ divided once.
``hw.power``               W, gauge. Energy over time of the interval's windows.
``hw.host.energy``         J, cumulative sum, integer. All energy of the host's root domains
                           since this exporter first saw the host; rounded down as a sum, so
                           it never drifts.
``hw.host.power``          W, gauge. Sum of the root domains; left out where one of those
                           heard in the interval before is missing.
``chipwatt.domain.energy`` as ``hw.energy`` and ``hw.power``, for domains inside another (core,
``chipwatt.domain.power``  uncore, memory of a board) or around others (psys), and for further
                           sensors of a domain that is in ``hw.energy`` already (a GPU's
                           instantaneous and averaged power beside its counter): under their
                           own names, so that a sum over ``hw.energy`` counts no joule twice.
``chipwatt.coverage``      1, gauge. Share of the interval that the sensor saw.
``chipwatt.gap.*``         cumulative sums over what nobody can know of a sensor, since this
                           exporter first saw such a gap: ``energy.lower`` and
                           ``energy.upper`` (J, the bounds), ``duration`` (s), ``count``.
                           Gaps are not in ``hw.energy`` unless its counter went on.
=========================  ==================================================================

==========================  =================================================================
attribute of a point
``hw.id``                   ``cpu/0/package``: device and domain; of host metrics the host id
``hw.type``                 ``cpu``, ``gpu``, ``memory``, ``enclosure`` (module, board, psys)
``hw.name``                 ``cpu 0 package``
``hw.parent``               ``hw.id`` of the domain around a nested one
``chipwatt.method``         ``counter``, ``integrated`` or ``estimated`` (a model, no sensor);
                            of a host the weakest of its parts
``chipwatt.statistic``      ``energy``, ``instant`` or ``average``: what the sensor's value is; with
                            ``hw.id`` it tells one sensor's points from another's
``chipwatt.interface``      ``nvml``, ``rapl_powercap``, ... ``replay``
``chipwatt.reason``         of gaps: ``counter_reset``, ``agent_down``, ``sensor_lost``, ...
``chipwatt.filtered``       true where firmware adds noise on purpose; else absent
==========================  =================================================================

Other flags of a window change from one to the next, and as attributes they would tear
a series apart; ``chipwatt.coverage`` stands for PARTIAL, the query API has them all.

Streams of a counter begin with a point of no duration that carries the counter as it
stood, which says "the start is not known" in OTLP's data model: nothing is read into
the first value. A new counter epoch, and a new process of this exporter, begin anew.
Late data goes out under its own time. With an interval below 60 s a reader of the
back end sees more than the ``confidential`` egress of the design grants.
"""
