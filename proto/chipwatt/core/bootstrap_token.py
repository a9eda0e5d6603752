"""Bootstrap tokens: good once, for one name, for a short time; no file holds one.

::

    chipwatt-<16 hex digits: its number>-<43 characters: 256 random bits>

A token's file in the authority's folder ``tokens/`` is named by the number and holds
whom it is for, when it ends, and BLAKE2b-256 of the secret, so that who reads the
folder can enrol nobody. To use it removes the file: of several that try at once
one succeeds, and a power cut brings none back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from chipwatt.core.durable import replace_durably, sync_directory
from chipwatt.core.errors import CertificateError

_TEXT = re.compile(rb"chipwatt-([0-9a-f]{16})-([A-Za-z0-9_-]{43})")
_NOBODY = bytes(32)
REFUSED = "the token is unknown, used or expired; make another with `chipwatt certs token`"


class TokenRefused(CertificateError):
    """A token that is good for nothing; the message does not say why, nor the token."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token is for."""

    role: str
    name: str


class TokenBook:
    """The tokens of one authority, in a folder. Any number of processes may use it."""

    def __init__(self, authority: Path) -> None:
        self._folder = authority / "tokens"

    def issue(self, grant: Grant, until_unix_s: int) -> str:
        """Make a token; it is nowhere but in the returned text. Raises CertificateError."""
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        entry = {
            "role": grant.role,
            "name": grant.name,
            "until_unix_s": until_unix_s,
            "digest": _digest(secret.encode()).hex(),
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{number}.json"
            replace_durably(path, json.dumps(entry).encode(), mode=0o600)
        except OSError as error:
            raise CertificateError(f"{self._folder}: cannot be written: {error.strerror}") from None
        return f"chipwatt-{number}-{secret}"

    def take(self, token: bytes, unix_s: int) -> Grant:
        """Use a token up and return whom it is for. Raises TokenRefused."""
        match = _TEXT.fullmatch(token)
        if match is None:
            raise TokenRefused(REFUSED)
        path = self._folder / f"{match[1].decode()}.json"
        try:
            entry = json.loads(path.read_bytes())
            wanted = bytes.fromhex(entry["digest"])
            grant, until_unix_s = Grant(entry["role"], entry["name"]), int(entry["until_unix_s"])
        except (OSError, ValueError, KeyError, TypeError):
            wanted, grant, until_unix_s = _NOBODY, Grant("", ""), 0
        # Of one length, and compared in a time that does not tell how much of it is right.
        if not hmac.compare_digest(wanted, _digest(match[2])):
            raise TokenRefused(REFUSED)
        try:
            path.unlink()
            sync_directory(self._folder)
        except OSError:
            raise TokenRefused(REFUSED) from None  # somebody else was first, or it would come back
        if unix_s >= until_unix_s:
            raise TokenRefused(REFUSED)
        return grant

    def sweep(self, unix_s: int) -> None:
        """Forget tokens that ended unused."""
        for path in self._folder.glob("*.json"):
            try:
                ended = int(json.loads(path.read_bytes())["until_unix_s"]) <= unix_s
                if ended:
                    path.unlink(missing_ok=True)
            except (OSError, ValueError, KeyError, TypeError):
                continue


def _digest(secret: bytes) -> bytes:
    return hashlib.blake2b(secret, digest_size=32).digest()
