"""From a stream of batches to rows on disk: who it is, whether it is whole, new, and stored.

``servicer`` speaks gRPC, ``identity`` says whose stream it is, ``unpack``
checks a batch, ``dedupe`` knows what is stored, ``commit`` writes groups of
batches and only then lets them be acked.
"""
