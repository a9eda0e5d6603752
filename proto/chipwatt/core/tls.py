"""The three PEM files that one side of a TLS connection needs, and their renewal on disk.

A *bundle* is a folder with ``ca.pem``, ``cert.pem`` and ``key.pem``. Files that are
replaced while a program runs are used for the connections that begin after that.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chipwatt.core.errors import ConfigError

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the files are."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def in_bundle(cls, folder: Path) -> Self:
        """Return the paths of a bundle, whether it exists or not."""
        return cls(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")

    def stamp(self) -> _Stamp:
        """Return what changes when a file is replaced. Raises ConfigError that names the file."""
        found = []
        for path in (self.ca, self.cert, self.key):
            try:
                stat = path.stat()
            except OSError as error:
                raise _unreadable(path, error) from None
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Material:
    """What stands in the files."""

    ca: bytes
    cert: bytes
    key: bytes


def read(files: TlsFiles) -> Material:
    """Return the contents, which belong together.

    Raises ConfigError where a file cannot be read, is no PEM file of its kind, or
    the key is not the certificate's.
    """
    contents = []
    for path in (files.ca, files.cert, files.key):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise _unreadable(path, error) from None
    _check(files)
    return Material(*contents)


class Renewals:
    """Reads the files, and notices when they were replaced as a whole.

    Who replaces three files cannot do so at once; in between they do not belong
    together, and what was read before goes on to be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._used: _Stamp | None = None

    def read(self) -> Material:
        """Return the files' contents as they are now. Raises ConfigError as ``read`` does."""
        before = self._files.stamp()
        material = read(self._files)
        self._used = before
        return material

    def renewed(self) -> Material | None:
        """Return the new contents where they differ from what was used last and can be used."""
        found = self._new()
        if found is None:
            return None
        self._used, material = found
        return material

    def is_renewed(self) -> bool:
        """Return whether ``renewed`` would give something; takes no note of it."""
        return self._new() is not None

    def _new(self) -> tuple[_Stamp, Material] | None:
        try:
            before = self._files.stamp()
            if before == self._used:
                return None
            material = read(self._files)
            if self._files.stamp() != before:
                return None  # replaced just now: the next look finds it whole
        except ConfigError:
            return None
        return before, material


def _check(files: TlsFiles) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=files.ca)
    except ssl.SSLError:
        raise ConfigError(f"{files.ca}: no certificate of an authority in PEM form") from None
    except OSError as error:
        raise _unreadable(files.ca, error) from None
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"{files.key}: not the key of the certificate {files.cert}; "
                "put both from one issue there"
            ) from None
        raise ConfigError(
            f"{files.cert}, {files.key}: no certificate and unencrypted key in PEM form"
        ) from None
    except OSError as error:
        raise _unreadable(files.cert, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: TLS file cannot be read: {error.strerror}")
