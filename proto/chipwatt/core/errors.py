"""Every exception of Chipwatt that crosses a module's edge.

::

    ChipwattError                  a sentence for a person: what happened, where, what to do
    ├── ConfigError                a setting is unknown, missing or out of range
    ├── InvalidPayload             bytes from elsewhere break the schema or its ranges
    ├── TraceError                 a recorded trace cannot be read at all
    ├── StoreError                 the collector's store cannot be opened or written
    ├── SpoolError                 the agent's spool cannot be opened or written
    ├── CertificateError           a certificate cannot be made, read or used
    ├── TopologyError              a topology file is wrong: path, line, reason
    └── CollectorUnreachable       nothing answers at a collector's address

``exit_code`` is what a program ends with when it dies of one (sysexits.h).
"""

from __future__ import annotations

from typing import ClassVar


class ChipwattError(Exception):
    """A fault told to a person in one sentence."""

    exit_code: ClassVar[int] = 1


class ConfigError(ChipwattError):
    """A setting is unknown, missing or out of range."""

    exit_code = 78  # EX_CONFIG


class InvalidPayload(ChipwattError):
    """Bytes from elsewhere break the schema or its ranges."""

    exit_code = 65  # EX_DATAERR


class TraceError(ChipwattError):
    """A recorded trace cannot be read at all."""

    exit_code = 65


class StoreError(ChipwattError):
    """The collector's store cannot be opened or written."""

    exit_code = 74  # EX_IOERR


class SpoolError(ChipwattError):
    """The agent's spool cannot be opened or written."""

    exit_code = 74


class CertificateError(ChipwattError):
    """A certificate cannot be made, read or used."""

    exit_code = 65


class TopologyError(ChipwattError):
    """A topology file is wrong; the message names path, line and reason."""

    exit_code = 78


class CollectorUnreachable(ChipwattError):
    """Nothing answers at a collector's address."""

    exit_code = 69  # EX_UNAVAILABLE
