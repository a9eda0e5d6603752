r"""The spool: payloads on disk from the moment they are made until the collector has them.

A directory, mode 0700, of one process at a time::

    lock               flock'ed by the process that has the spool open; holds its pid
    00000007.seg       segments, appended in the order of their numbers, which never recur
    00000007.sent      empty: records of that segment may be at a collector, be it there or not
    00000008.seg
    cursor             how far the collector has acked
    settled            the newest record before the cursor: its key and memory (``settled``)
    00000003.damaged   a segment that the disk does not give back or without a header, set aside
    merging            a segment that is to replace others and is not complete

All integers are little-endian, every CRC is CRC-32 as zlib computes it.

A segment is two copies of one 80-byte header, then frames until its end::

    8s  magic "CWSPOOL1"
    Q   number, that of the file's name
    Q   number of the last segment that this one replaces; its own where it replaces none
    16s boot id: the kernel's, when the segment was begun
    Q   spool epoch: random, not zero; (boot id, epoch, sequence) is a record's key
    Q   sequence of the first record
    Q   end of the segment before this one, in bytes (0: there is none)
    Q   resolution in ns to which its records were merged; 0 as they were made
    I   CRC of the 72 bytes above
    4x  zeros

A frame is a 40-byte header, the payload, then the memory::

    4s  magic "CWR\xb1"
    I   bytes of payload
    I   bytes of memory
    I   how many records it stands for: 1, or those that were merged into it
    Q   sequence, of the last of them
    Q   wall clock in ns since 1970 when the first of them was appended, for its age only
    I   CRC of payload and memory
    I   CRC of the 36 bytes above, begun at the CRC of the epoch: bytes that only look
        like a frame, in a payload or from a file that was deleted, do not fit

The payload is what is sent; nothing here looks into it. The memory is what the
sensing process needs to go on after this payload (opaque too). It shares the
frame so that the two can never disagree: whichever record turns out to be the
last, its memory is the one that fits.

The cursor is a 32-byte file, replaced by rename::

    8s  magic "CWCURS01"
    Q   number of a segment
    Q   offset in it: everything that ends there or before is settled
    I   CRC of the 24 bytes above
    4x  zeros

Invariants, by the numbers that code and tests use:

- S1  When ``append`` returns, its records are fsync'ed, and so is the name of their segment. What
      a process that was killed left behind is fsync'ed when the spool is opened, before it is read.
- S2  Within an epoch sequences count up from 1 by 1, each belongs to exactly one record, and
      one under which bytes may have left this host is never given to other bytes but the gap
      of S6, for which the collector has room only where it has not got those bytes.
- S3  A new epoch, in a new segment, begins wherever S2 could be in doubt: a new boot, a boot
      id that cannot be read, a torn tail, a write or fsync that failed. Where records behind
      the newest that is left may be at a collector, its memory is not resumed from either, it
      only bounds what is not known since: a mark of a higher number than its segment's says so
      until another is appended.
- S4  A segment ends where its successor's header says; what a failed write left beyond
      that is no record. A merged segment ends with its file.
- S5  Records are read in the order they were appended, each exactly once from any cursor on.
- S6  Damage, found by CRC or since the disk gives nothing back, costs the records it lies in,
      no other. They are counted, and
      once a later record of their epoch is there, a gap is read in their place under the key
          of the last of them. A torn tail leaves none: what sensing resumes with bridges it.
      What is missing before the oldest record, dropped or deleted, is known from ``settled``.
- S7  What lies before the cursor is never read again. The cursor may be older than the
      truth (it is not fsync'ed), never newer: the collector knows a record that it has.
      One that points at no place between records is not believed: all is sent again.
- S8  A segment is deleted when all of it is durably settled and the record behind it too, when a
      merged one stands for it, or as the oldest one when the quota is exceeded and nothing can
      be merged. The newest always stays, for the sake of S2 and of the memory.
- S9  Only segments are merged of which nothing was ever read to be sent; the mark that says so
      is durable before the read returns. So no joule can reach a collector under two keys.
- S10 A merged segment becomes visible by one rename, whole and durable, in the place of all
      that it stands for. A restart deletes what is left of those, by their numbers.

Over quota the oldest windows that may be merged become coarser: first to
minutes, then ten, then hours, then days (``plan``). Energy, time and gaps stay
exact. The work is done by a process of its own that ends with it (``merger``,
``chipwatt.agent.merging_process``): nothing here decodes a payload.
"""
