"""Durable books: SQLite in WAL mode, columns in zstd blocks, files of a day and more.

::

    <store.path>/
      lock                      held by the one collector that has the store open
      catalogue.sqlite          what is in the store, and the journal of what was just committed
      commits                   numbers of the newest commits, to notice one that vanished
      blocks/raw-*.sqlite       a UTC day of rows as agents sent them
      blocks/1min-*.sqlite      a day of one-minute roll-ups
      blocks/10min-*.sqlite     eight days of ten-minute roll-ups
      blocks/1h-*.sqlite        64 days of one-hour roll-ups, and every gap

A group commit is one transaction on one database: a row (a *part*) a kind of
record with all columns of the group in one zstd block, and a receipt for
dedupe. Compaction sorts the rows of many parts into blocks, one a (shard of 64
hosts, slot of a minute, kind), in the file of their day. Retention rolls a file
that is past its time up into the next tier and deletes it.

SQLite promises no atomic commit over several files in WAL mode once power
fails, so nothing here relies on one:

1. *One commit point.* Only transactions on the catalogue change what the store
   holds. Each is synced (``synchronous=FULL``) before the call returns.
2. *An ack needs one database.* Rows, receipt, host and device numbers, newest
   status and totals of a group are in one transaction.
3. *Invisible until finished.* Blocks are written and synced under a generation
   that the catalogue lists as unfinished. One transaction ends that and, with
   it, moves the mark behind which parts are read from blocks, or drops the
   finer file. A crash before it leaves blocks that nobody ever sees, after it
   at most a file that the next opening deletes.
4. *Each row once.* A row is in a part behind the mark or in a visible block,
   never both, never neither; in one tier, never two.
5. *Files only gain blocks*, until they are sealed and dropped; their numbers are
   never used twice.
6. *Positions are for ever.* A part keeps its position and stays until every
   named cursor is past it (at most ``follow_most``) and ``follow_least`` is
   over, whatever compaction and retention did to its rows.
7. *Energy is kept.* A roll-up adds integers of rows that join up exactly, and
   leaves apart what does not; gaps are kept as long as the coarsest tier.
8. *Damage is local, and told.* Every block has a checksum. One that fails, a file
   that cannot be read, or commits that are gone with the end of the log (``tally``)
   are left out, counted and logged once (``damage``); ``gaps`` says what energy that
   is, from the counters around it (``lost``). Files are looked through at the start
   and once a day (``scrub``, ``opening``); indexes are rebuilt. All else goes on.
9. *A commit is where the path leads.* A store that was deleted or replaced while it
   is open takes nothing (``anchor``).
10. *A clock that jumps deletes nothing*: retention has a time of its own (``pace``).

Beside the books the catalogue keeps four bytes of each batch's digest for 30 days
(``fingerprints``), where each sensor's rows end (``lines``) and where windows lie that an
agent merged (``overlap``): energy that comes a second time inside of those, or inside
of what they were made of, is left out. Retention goes on where its last call stopped.

Whether the books agree with the counters is checked as rows are compacted
(``ledger``): energy that no window brought, and energy brought twice.
"""
