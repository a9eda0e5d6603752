"""``chipwatt certs token | enrol`` and the renewal at a collector: bundles without copying keys."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options
from chipwatt.core.errors import CertificateError, ConfigError
from chipwatt.core.tls import TlsFiles

if TYPE_CHECKING:
    from chipwatt.core.certificate import Holder

_MOST_TOKEN_BYTES = 4096


def add_actions(actions: Any, default_dir: Path) -> None:
    """Add what needs a collector, or prepares for one."""
    token = actions.add_parser(
        "token",
        help="let one host fetch its first bundle by itself",
        description="Print a token with which one host can fetch its certificate from a collector "
        "whose setting [enrolment] names this authority. It is good once; hand it over as you "
        "would a password.",
    )
    token.add_argument("name", help="the host's id (32 hex digits) or name")
    token.add_argument(
        "--expires",
        type=options.duration_ns,
        default=options.duration_ns("1h"),
        metavar="TIME",
        help="how long it is good (default: 1h)",
    )
    token.add_argument(
        "--dir", type=Path, default=default_dir, help=f"the authority's folder ({default_dir})"
    )
    enrol = actions.add_parser("enrol", help="fetch this host's first bundle, with a token")
    enrol.add_argument("--collector", required=True, metavar="ADDR", help="its enrolment address")
    enrol.add_argument("--ca", type=Path, required=True, help="the authority's ca.pem")
    enrol.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with the token (default: standard input; others can read a command line)",
    )
    enrol.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder for it")


def token(args: argparse.Namespace) -> None:
    """Make a token and print it, alone on standard output."""
    from chipwatt.core.authority import Authority
    from chipwatt.core.bootstrap_token import Grant, TokenBook
    from chipwatt.core.certificate import Holder

    holder = Holder(Authority.load(args.dir).domain, "agent", args.name)
    until_unix_s = int(time.time()) + args.expires // 10**9
    print(TokenBook(args.dir).issue(Grant(holder.role, holder.name), until_unix_s))
    until = datetime.datetime.fromtimestamp(until_unix_s, datetime.UTC)
    print(f"for {holder.uri}, once, until {until:%Y-%m-%d %H:%M:%S} UTC", file=sys.stderr)


def enrol(args: argparse.Namespace) -> tuple[Path, Holder]:
    """Fetch a bundle; the key never leaves this host."""
    from chipwatt.client.enrolment import EnrolmentClient
    from chipwatt.core.authority import Issued, make_request

    if (args.out / "cert.pem").exists():
        raise CertificateError(
            f"{args.out}: there is a bundle already; `chipwatt certs renew {args.out} --collector`"
        )
    key, request = make_request()
    with EnrolmentClient(args.collector, args.ca) as client:
        certificate, authority = client.enrol(_read_token(args.token_file), request)
    return args.out, _holder(Issued(authority, certificate, key).save(args.out))


def configured(config: Path) -> tuple[TlsFiles, str]:
    """Return the files that an agent's configuration names, and its collector.

    Raises ConfigError, also where it names none.
    """
    from chipwatt.agent.config import load

    read = load(config)
    if read.tls.files is None:
        raise ConfigError(f"{config}: no ca, cert and key under [tls]: nothing to renew")
    return read.tls.files, read.collector


def renew(files: TlsFiles, address: str) -> Holder:
    """Replace certificate and key by those from the collector, asked with what they are now."""
    from chipwatt.client.enrolment import RenewalClient
    from chipwatt.core.authority import Issued, check_writable, make_request

    check_writable(files)  # before one is issued that could not be kept
    key, request = make_request()
    with RenewalClient(address, ca=files.ca, cert=files.cert, key=files.key) as client:
        certificate, authority = client.renew(request)
    # Whom to trust stays as it is: while the authority changes there are two.
    Issued(authority, certificate, key).replace(files)
    return _holder(files)


def is_due(files: TlsFiles, within_ns: int) -> bool:
    """Return whether the certificate ends within so long. Raises CertificateError."""
    from chipwatt.core.certificate import read_certificate

    ends = read_certificate(files.cert).not_valid_after_utc
    return ends.timestamp() - time.time() <= within_ns / 1e9


def _holder(files: TlsFiles) -> Holder:
    from chipwatt.core.certificate import holder_of, read_certificate

    return holder_of(read_certificate(files.cert))


def _read_token(file: Path | None) -> str:
    try:
        text = sys.stdin.read(_MOST_TOKEN_BYTES) if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise CertificateError(f"{file or 'standard input'}: cannot be read: {why}") from None
    return text.strip()
