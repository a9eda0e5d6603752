"""Options that every question to a collector shares, and what they stand for."""

from __future__ import annotations

import argparse
import os
import re
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.core import settings
from chipwatt.core.errors import ChipwattError, ConfigError
from chipwatt.core.tls import TlsFiles

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient, DeviceInfo, HostInfo

ADDRESS_VARIABLE = "CHIPWATT_COLLECTOR"
TLS_VARIABLE = "CHIPWATT_TLS"
_SCHEMES = ("unix:/", "dns:", "ipv4:", "ipv6:")
DEFAULT_ADDRESS = "127.0.0.1:9733"
_POWER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(mW|W|kW|MW)\s*", re.ASCII)
_UNIT_MW = {"mW": 1, "W": 1_000, "kW": 1_000_000, "MW": 1_000_000_000}
_MOST_MW = 10**15
_HORIZONS_S = (60, 600, 3600, 10_800)
_QUANTILES_PPM = (500_000, 999_000)


class NoSuchThing(ChipwattError):
    """The collector does not know what was named."""


def add_collector(parser: argparse.ArgumentParser) -> None:
    """Add where the collector is and how to trust it."""
    address = os.environ.get(ADDRESS_VARIABLE, DEFAULT_ADDRESS)
    group = parser.add_argument_group("collector")
    group.add_argument(
        "--collector",
        metavar="ADDRESS",
        default=address,
        help=f"host:port to ask; also ${ADDRESS_VARIABLE} (default: {address})",
    )
    bundle = os.environ.get(TLS_VARIABLE)
    group.add_argument(
        "--tls",
        type=Path,
        metavar="DIR",
        default=Path(bundle) if bundle else None,
        help=f"folder with ca.pem, cert.pem and key.pem, as `chipwatt certs` makes it; "
        f"also ${TLS_VARIABLE}",
    )
    group.add_argument("--ca", type=Path, help="PEM file that the collector's certificate rests on")
    group.add_argument("--cert", type=Path, help="PEM file with your certificate")
    group.add_argument("--key", type=Path, help="PEM file with its private key")
    group.add_argument(
        "--insecure-plaintext-over-network",
        action="store_true",
        help="ask a collector on another host without TLS: anyone on the way can read and forge",
    )


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add which host is meant."""
    parser.add_argument(
        "--host", default="", help="id (or its beginning) or name; needed where there are several"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the form for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON, integers with their units")


def duration_ns(text: str) -> int:
    """Read ``10min`` for argparse."""
    try:
        return settings.duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> int:
    """Read ``10min`` as whole seconds for argparse."""
    whole, rest_ns = divmod(duration_ns(text), 10**9)
    if rest_ns or not whole:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of seconds above 0")
    return whole


def power_mw(text: str) -> int:
    """Read ``800W`` or ``40kW`` as integer milliwatts for argparse."""
    match = _POWER.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"power is a number with a unit, as 800W, 40kW or 1.2MW, not {text!r}"
        )
    exact_mw = Decimal(match[1]) * _UNIT_MW[match[2]]
    if exact_mw != int(exact_mw) or not 0 < exact_mw <= _MOST_MW:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of mW from 1 to 10^15")
    return int(exact_mw)


def share_ppm(text: str) -> int:
    """Read ``0.99`` or ``99%`` as parts per million for argparse."""
    number, scale = (text[:-1], 10_000) if text.endswith("%") else (text, 1_000_000)
    try:
        ppm = Decimal(number) * scale
    except InvalidOperation:
        ppm = Decimal(-1)
    if not ppm.is_finite() or not 0 <= ppm <= 1_000_000 or ppm != int(ppm):
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write 0.99 or 99%")
    return int(ppm)


def horizon_s(text: str) -> int:
    """Read how far ahead to look, in seconds, for argparse."""
    found = seconds(text)
    if found not in _HORIZONS_S:
        raise argparse.ArgumentTypeError(f"{text!r} is none of 60s, 10min, 1h, 3h")
    return found


def quantile_ppm(text: str) -> int:
    """Read ``0.99`` or ``99%`` as the quantile of a prediction for argparse."""
    found = share_ppm(text)
    if not _QUANTILES_PPM[0] <= found <= _QUANTILES_PPM[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not within 0.5 to 0.999")
    return found


def add_last(parser: argparse.ArgumentParser, default: str) -> None:
    """Add how far back to look."""
    parser.add_argument(
        "--last",
        type=duration_ns,
        default=duration_ns(default),
        metavar="TIME",
        help=f"look back this far: 90s, 10min, 2h, 7d (default: {default})",
    )


def since_unix_ns(args: argparse.Namespace) -> int:
    """Return where ``--last`` begins."""
    return max(1, time.time_ns() - int(args.last))


def client(args: argparse.Namespace) -> CollectorClient:
    """Return a client of the collector that was named; it connects at its first question."""
    from chipwatt.client import CollectorClient

    check_address(args.collector)
    return CollectorClient(args.collector, **trust(args))


def trust(args: argparse.Namespace) -> dict[str, Any]:
    """Return a client's keyword arguments: whose certificates count, and which is shown.

    Files that are named win over those of ``--tls``.
    """
    bundle = TlsFiles.in_bundle(args.tls) if args.tls else None
    return {
        "ca": args.ca or (bundle and bundle.ca),
        "cert": args.cert or (bundle and bundle.cert),
        "key": args.key or (bundle and bundle.key),
        "plaintext_over_network": args.insecure_plaintext_over_network,
    }


def check_address(address: str) -> None:
    """Raise ConfigError where ``address`` is none that gRPC could ask."""
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536
    is_host = bool(host) and address.isprintable() and not set(host) & set(" /,")
    is_plain = is_port and is_host and (":" not in host or host[0] + host[-1] == "[]")
    if not is_plain and not address.startswith(_SCHEMES):
        raise ConfigError(
            f"--collector: {address!r} is no address: write host:port, [v6]:port or unix:/path."
        )


def pick_host(collector: CollectorClient, wanted: str) -> HostInfo:
    """Return the host that was named, or the only one. Raises NoSuchThing."""
    hosts = list(collector.hosts())
    if not hosts:
        raise NoSuchThing(
            "no host has reported to this collector yet; start `chipwatt agent` on one."
        )
    found = [
        host
        for host in hosts
        if not wanted or host.name == wanted or host.host_id.startswith(wanted.lower())
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(host.name for host in (found or hosts)[:8])
    if not found:
        raise NoSuchThing(f"no host is called {wanted!r}; the collector knows {known}.")
    what = f"{wanted!r} fits" if wanted else "the collector knows"
    raise NoSuchThing(f"{what} {len(found)} hosts: {known}; name one with --host.")


def pick_device(devices: tuple[DeviceInfo, ...], wanted: str) -> DeviceInfo | None:
    """Return the device that was named, None for every one. Raises NoSuchThing."""
    if not wanted:
        return None
    found = [info for info in devices if wanted.lower() in str(info.device).lower()]
    exact = [info for info in found if str(info.device).lower() == wanted.lower()]
    if len(exact or found) == 1:
        return (exact or found)[0]
    known = ", ".join(str(info.device) for info in found or devices)
    raise NoSuchThing(
        f"{wanted!r} fits {len(found) or 'none'} of the host's devices: {known or 'none yet'}."
    )
