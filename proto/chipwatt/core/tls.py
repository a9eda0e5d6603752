"""The three PEM files that one side of a TLS connection needs, and their renewal on disk.

A *bundle* is a folder with ``ca.pem``, ``cert.pem`` and ``key.pem``. Files that are
replaced while a program runs are used for the connections that begin after that.

Two files cannot be replaced at once. While ``key_pair`` does so, and after it was killed
over it, the key that fits the certificate may lie beside the new one, as ``<key>.before``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from chipwatt.core.errors import ConfigError

_Stamp = tuple[tuple[int, int, int], ...]
_MOST_LOOKS = 20
"""At files that are replaced while they are read."""


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
    return _settled(files)[1]


class Renewals:
    """Reads the files, and notices when they were replaced as a whole.

    Who replaces three files cannot do so at once; in between they do not belong
    together, and what was read before goes on to be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._used: tuple[_Stamp, Material] | None = None

    def read(self) -> Material:
        """Return the files' contents as they are now. Raises ConfigError as ``read`` does."""
        self._used = _settled(self._files)
        return self._used[1]

    def renewed(self) -> Material | None:
        """Return the new contents where they differ from what was used last and can be used."""
        found = self._new()
        if found is None:
            return None
        self._used = found
        return found[1]

    def is_renewed(self) -> bool:
        """Return whether ``renewed`` would give something; takes no note of it."""
        return self._new() is not None

    def _new(self) -> tuple[_Stamp, Material] | None:
        stamp, material = self._used or (None, None)
        try:
            if self._files.stamp() == stamp:
                return None
            found = _settled(self._files)
        except ConfigError:
            return None
        if found[1] == material:  # half replaced, or put back: the pair is the one in use
            return None
        return found


def older_key(key: Path) -> Path:
    """Return where the key before this one is kept until its certificate is replaced too."""
    return key.with_name(f"{key.name}.before")


def fitting_key(cert: Path, key: Path) -> Path:
    """Return ``key``, or the one before it where that alone is the certificate's."""
    older = older_key(key)
    return older if not are_pair(cert, key) and are_pair(cert, older) else key


def are_pair(cert: Path, key: Path) -> bool:
    """Return whether both can be read and belong together."""
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    except OSError:  # which those of OpenSSL are too
        return False
    return True


def _settled(files: TlsFiles) -> tuple[_Stamp, Material]:
    """Read while nobody replaces, and return what to know the files by as well."""
    for _ in range(_MOST_LOOKS):
        before = files.stamp()
        try:
            found = _read(files)
        except ConfigError:
            if files.stamp() == before:
                raise
        else:
            if files.stamp() == before:
                return before, found
    raise ConfigError(f"{files.cert}: replaced over and over while it was read; try again")


def _read(files: TlsFiles) -> Material:
    used = replace(files, key=fitting_key(files.cert, files.key))
    contents = []
    for path in (used.ca, used.cert, used.key):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise _unreadable(path, error) from None
    _check(used)
    return Material(*contents)


def _check(files: TlsFiles) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=files.ca)
    except ssl.SSLError:
        raise ConfigError(f"{files.ca}: no certificate of an authority in PEM form") from None
    except OSError as error:
        raise _unreadable(files.ca, error) from None
    try:
        _load(context, files.cert, files.key)
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


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    # Without a password OpenSSL would ask for one at the terminal.
    context.load_cert_chain(cert, key, password=lambda: b"")


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: TLS file cannot be read: {error.strerror}")
