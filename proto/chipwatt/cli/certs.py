"""``chipwatt certs``: certificates for agents, collectors and clients, on one's own authority."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli import enrol, extras, options
from chipwatt.cli.tables import Table, show
from chipwatt.core.errors import CertificateError
from chipwatt.core.tls import TlsFiles

if TYPE_CHECKING:
    from cryptography import x509

    from chipwatt.core.authority import Authority, Issued
    from chipwatt.core.certificate import Holder

DEFAULT_DIR = Path("/etc/chipwatt/authority")
_DOMAIN = "chipwatt.internal"
_DAYS = 90
_DESCRIPTION = """\
Make and look at the certificates with which agents, collectors and clients know each other.

  chipwatt certs init                                   once, on a machine that you guard
  chipwatt certs issue collector main --address collector.example.net
  chipwatt certs issue agent node-1                     for each host
  chipwatt certs issue operator alice                   for each person or service that asks
  chipwatt certs token node-2                           so that node-2 fetches its own: enrol

An issue is a bundle: a folder with ca.pem, cert.pem and key.pem. Copy it to where it is
needed and name its files under [tls], or the folder with --tls. Programs that run take
replaced files up by themselves."""


def add_parser(subparsers: Any) -> None:
    """Add ``certs`` to the command line."""
    parser = subparsers.add_parser(
        "certs",
        help="certificates on one's own authority",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make an authority")
    init.add_argument("--domain", default=_DOMAIN, help=f"trust domain (default: {_DOMAIN})")
    init.add_argument("--days", type=int, default=3650, help="how long it lasts (default: 3650)")
    issue = actions.add_parser("issue", help="make a key and a certificate for somebody")
    issue.add_argument("role", help="agent, collector, placement, egress or operator")
    issue.add_argument("name", help="of an agent: its host's id or name; else any name")
    issue.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST",
        help="name or IP address at which a collector is reached; may be repeated",
    )
    issue.add_argument(
        "--out", type=Path, metavar="BUNDLE", help="folder for it (default: DIR/issued/ROLE/NAME)"
    )
    renew = actions.add_parser(
        "renew",
        help="replace a bundle by one for the same holder",
        description="Replace certificate and key by those of a new issue for the same holder: of "
        "the authority in --dir or, with --collector or --config, of a collector's. What a "
        "collector issues lasts as long as it says and leaves ca.pem as it is, so that --dir, "
        "--days and --trust go with neither.",
    )
    what = renew.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "bundle", type=Path, nargs="?", help="folder with ca.pem, cert.pem and key.pem"
    )
    what.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="an agent's TOML file: certificate and key that [tls] names, wherever they are, from "
        "the collector that it names",
    )
    renew.add_argument(
        "--collector",
        metavar="ADDR",
        help="ask this collector, with the bundle itself, in place of an authority at hand",
    )
    renew.add_argument(
        "--within",
        type=options.duration_ns,
        metavar="TIME",
        help="only where it ends within this time, for example 30d; for timers",
    )
    enrol.add_actions(actions, DEFAULT_DIR)
    for action in (issue, renew):
        action.add_argument("--days", type=int, help=f"how long it lasts (default: {_DAYS})")
        action.add_argument(
            "--trust",
            type=Path,
            action="append",
            default=[],
            metavar="CA",
            help="ca.pem of another authority, for as long as there are certificates of both",
        )
    look = actions.add_parser("show", help="whom certificates name, and how long they last")
    look.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="PEM files or bundles")
    options.add_json(look)
    for action in (init, issue, renew):
        action.add_argument(
            "--dir",
            type=Path,
            default=None if action is renew else DEFAULT_DIR,
            help=f"the authority's folder (default: {DEFAULT_DIR})",
        )


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    extras.require("cryptography", "`chipwatt certs`", "certs")
    actions = {
        "init": _init,
        "issue": _issue,
        "renew": _renew,
        "show": _show,
        "token": enrol.token,
        "enrol": _enrol,
    }
    actions[args.action](args)
    return 0


def _init(args: argparse.Namespace) -> None:
    from chipwatt.core.authority import Authority

    Authority.create(args.domain, args.days).save(args.dir)
    print(
        f"{args.dir}: authority for {args.domain}. Its ca.key signs for everybody: keep it where "
        "no agent and no collector runs, and a copy of it in a safe place."
    )


def _issue(args: argparse.Namespace) -> None:
    from chipwatt.core.certificate import Holder

    if args.role == "collector" and not args.address:
        raise CertificateError(
            "a collector's certificate holds the addresses at which agents reach it: give --address"
        )
    authority = _authority(args.dir)
    holder = Holder(authority.domain, args.role, args.name)
    out = args.out or args.dir / "issued" / args.role / args.name
    if (out / "cert.pem").exists():
        raise CertificateError(f"{out}: there is a bundle already; `chipwatt certs renew {out}`")
    _save(authority.issue(holder, args.address, _days(args)), args, out)
    _told(out, holder)


def _renew(args: argparse.Namespace) -> None:
    from chipwatt.core.certificate import addresses, holder_of, read_certificate

    _only_one_issuer(args)
    collector = args.collector
    if args.config is None:
        files = TlsFiles.in_bundle(args.bundle)
    else:
        files, its_own = enrol.configured(args.config)
        collector = collector or its_own
    if args.within is not None and not enrol.is_due(files, args.within):
        return
    if collector is not None:
        holder = enrol.renew(files, collector)
        print(f"{files.cert}, {files.key}: for {holder.uri}, until {_until(files.cert)}")
        return
    older = read_certificate(files.cert)
    folder = args.dir or DEFAULT_DIR
    authority = _authority(folder)
    holder = holder_of(older)
    if holder.domain != authority.domain:
        raise CertificateError(
            f"{files.cert} is of the domain {holder.domain}, the authority in {folder} of "
            f"{authority.domain}; name the right one with --dir"
        )
    _save(authority.issue(holder, addresses(older), _days(args)), args, args.bundle)
    _told(args.bundle, holder)


def _only_one_issuer(args: argparse.Namespace) -> None:
    if args.config is None and args.collector is None:
        return
    mine = {"--dir": args.dir, "--days": args.days, "--trust": args.trust or None}
    given = [option for option, value in mine.items() if value is not None]
    if given:
        asking = "--config" if args.config is not None else "--collector"
        raise CertificateError(
            f"{', '.join(given)}: what {asking} renews a collector issues, as it sees fit; leave "
            "that out, or name the bundle's folder alone to renew it with an authority at hand"
        )


def _days(args: argparse.Namespace) -> int:
    return _DAYS if args.days is None else args.days


def _enrol(args: argparse.Namespace) -> None:
    _told(*enrol.enrol(args))


def _authority(folder: Path) -> Authority:
    from chipwatt.core.authority import Authority

    if not (folder / "ca.key").exists():
        raise CertificateError(
            f"{folder}: no authority here; make one with `chipwatt certs init --dir {folder}`"
        )
    return Authority.load(folder)


def _save(issued: Issued, args: argparse.Namespace, bundle: Path) -> None:
    from chipwatt.core.certificate import pem_of, read_certificate

    others = b"".join(pem_of(read_certificate(path)) for path in args.trust)
    dataclasses.replace(issued, ca=issued.ca + others).save(bundle)


def _told(bundle: Path, holder: Holder) -> None:
    until = _until(TlsFiles.in_bundle(bundle).cert)
    print(f"{bundle}: ca.pem, cert.pem and key.pem for {holder.uri}, until {until}")


def _until(path: Path) -> str:
    from chipwatt.core.certificate import read_certificate

    return f"{read_certificate(path).not_valid_after_utc:%Y-%m-%d}"


def _show(args: argparse.Namespace) -> None:
    from chipwatt.core.certificate import read_certificate

    found = [_facts(path, read_certificate(path)) for path in _files(args.paths)]
    if args.json:
        print(json.dumps(found))
        return
    table = Table(["file", "for", "addresses", "issuer", ">days left"])
    for each in found:
        table.rows.append(
            (
                each["file"],
                ", ".join(each["uris"]) or "nobody",
                ", ".join(each["addresses"]),
                each["issuer"],
                "EXPIRED" if each["expired"] else str(each["days_left"]),
            )
        )
    show(table)


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield (
            path / "cert.pem"
            if path.is_dir() and (path / "cert.pem").exists()
            else (path / "ca.pem" if path.is_dir() else path)
        )


def _facts(path: Path, certificate: x509.Certificate) -> dict[str, Any]:
    from cryptography.hazmat.primitives import hashes

    from chipwatt.core.certificate import addresses, uris

    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return {
        "file": str(path),
        "uris": list(uris(certificate)),
        "addresses": list(addresses(certificate)),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "days_left": max(0, left.days),
        "expired": left.total_seconds() <= 0,
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }
