"""From a stream of batches to rows on disk: who it is, whether it is whole, new, and stored.

``servicer`` speaks gRPC, ``admission`` says whether there is room, ``identity``
whose stream it is, ``clocks`` how wrong its clock is; ``unpack`` checks a batch,
``fair_queue`` gives each host its turn, ``dedupe`` knows what is stored, ``examine``
corrects or flags what cannot be true, ``commit`` writes groups of batches and
only then lets them be acked. ``counters`` has the table of every reason.
"""
