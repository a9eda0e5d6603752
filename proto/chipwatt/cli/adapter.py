"""``chipwatt adapter``: what Kubernetes, Trimaran and Slurm plug into."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli import demands, options
from chipwatt.cli.extras import require
from chipwatt.core.errors import ConfigError

if TYPE_CHECKING:
    from chipwatt.client import PlacementClient

_K8S = "127.0.0.1:8099"
_WATCHER = "127.0.0.1:2020"
_MOST_TTL_S = 86_400
_K8S_EPILOG = """\
Without --kube-api, filter reserves power and answers with one node; with it (and bindVerb in the
scheduler's configuration) bind reserves on the node that the scheduler chose, then binds it.
packaging/kubernetes has both configurations."""


def add_parser(subparsers: Any) -> None:
    """Add ``adapter`` to the command line."""
    parser = subparsers.add_parser(
        "adapter",
        help="Kubernetes, Trimaran and Slurm plug in",
        description="Run a shim between a scheduler and a collector.",
    )
    kinds = parser.add_subparsers(dest="adapter", metavar="KIND", required=True)
    _add_k8s(kinds)
    _add_watcher(kinds)
    _add_slurm(kinds)


def run(args: argparse.Namespace) -> int:
    """Run the adapter that was named until it is told to end."""
    from chipwatt.core import log

    log.setup(log.LogConfig())
    return int({"k8s": _k8s, "load-watcher": _watcher, "slurm": _slurm}[args.adapter](args))


def _add_k8s(kinds: Any) -> None:
    parser = kinds.add_parser(
        "k8s",
        help="a Kubernetes scheduler extender",
        description="Answer kube-scheduler's filter, prioritize, bind and preempt over HTTP.",
        epilog=_K8S_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_listen(parser, _K8S)
    parser.add_argument(
        "--deadline", type=options.duration_ns, default=150_000_000, metavar="TIME",
        help="for the collector, a call of the scheduler (default: 150ms)",
    )  # fmt: skip
    parser.add_argument(
        "--when-unavailable", choices=("pass", "fail"), default="pass",
        help="without an answer every node passes, or none (default: pass)",
    )  # fmt: skip
    parser.add_argument(
        "--ttl", type=options.seconds, default=300, metavar="TIME",
        help="power stays reserved so long: from placing a pod to its first load (default: 5min)",
    )  # fmt: skip
    demands.add_outlook(parser)
    parser.add_argument(
        "--draw", action="append", default=[], metavar="RESOURCE=POWER",
        help="peak of one of a requested resource, for pods without a known class; `pod` is each "
        "pod's own (default: pod=5W cpu=6W nvidia.com/gpu=700W amd.com/gpu=750W)",
    )  # fmt: skip
    group = parser.add_argument_group("binding")
    group.add_argument("--kube-api", metavar="URL", help="API server; `cluster`: as a pod is told")
    group.add_argument("--kube-token", type=Path, metavar="FILE", help="service account's token")
    group.add_argument("--kube-ca", type=Path, metavar="FILE", help="PEM file it is trusted by")
    options.add_collector(parser)


def _add_watcher(kinds: Any) -> None:
    parser = kinds.add_parser(
        "load-watcher",
        help="power as load, for Trimaran and PEAKS",
        description="Answer as load-watcher does, with power in % of the tightest budget as CPU.",
    )
    _add_listen(parser, _WATCHER)
    options.add_collector(parser)


def _add_slurm(kinds: Any) -> None:
    parser = kinds.add_parser(
        "slurm",
        help="weights and headroom of Slurm's nodes",
        description='Give Slurm\'s nodes a weight and an extra {"headroom_w": N} by scontrol.',
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, once")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--once", action="store_true", help="push once and end")
    when.add_argument(
        "--every", type=options.seconds, default=60, metavar="TIME",
        help="push so often, at most once a minute (default: 1min)",
    )  # fmt: skip
    parser.add_argument(
        "--step", type=options.power_mw, default=100_000, metavar="POWER",
        help="headroom is told in whole steps (default: 100W)",
    )  # fmt: skip
    options.add_collector(parser)


def _add_listen(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--listen", default=default, metavar="ADDR",
        help=f"host:port; port 0: any free (default: {default})",
    )  # fmt: skip
    parser.add_argument("--http-cert", type=Path, metavar="FILE", help="PEM, to listen with TLS")
    parser.add_argument("--http-key", type=Path, metavar="FILE", help="PEM, its private key")
    parser.add_argument(
        "--announce", action="store_true", help="print a line of JSON with the address once ready"
    )


def _k8s(args: argparse.Namespace) -> int:
    for package in ("starlette", "uvicorn"):
        require(package, "an adapter over HTTP", "adapters")
    if args.ttl > _MOST_TTL_S:
        raise ConfigError(f"--ttl: at most {_MOST_TTL_S}s, a day")
    from chipwatt.adapters import demands as draws
    from chipwatt.adapters import extender, extender_http, http_server
    from chipwatt.adapters.tally import Tally

    rules = extender.Rules(
        deadline_s=args.deadline / 1e9,
        passes_when_unavailable=args.when_unavailable == "pass",
        ttl_s=args.ttl,
        horizon_s=args.horizon,
        quantile_ppm=args.quantile,
        draw_mw={**draws.DRAW_MW, **_draws(args.draw)},
    )
    counts = Tally("k8s")
    with _client(args) as client:
        answers = extender.Extender(client, rules, _kube_api(args), counts)
        resources = frozenset(rules.draw_mw) - {draws.POD}
        app = extender_http.application(answers, counts, resources)
        http_server.serve(app, _listen(args), args.announce)
    return 0


def _watcher(args: argparse.Namespace) -> int:
    for package in ("starlette", "uvicorn"):
        require(package, "an adapter over HTTP", "adapters")
    from chipwatt.adapters import http_server, load_watcher
    from chipwatt.adapters.tally import Tally

    counts = Tally("load-watcher")
    with _client(args) as client:
        app = load_watcher.application(client, counts)
        http_server.serve(app, _listen(args), args.announce)
    return 0


def _slurm(args: argparse.Namespace) -> int:
    from chipwatt.adapters import slurm

    if args.every < slurm.LEAST_EVERY_S:
        raise ConfigError(f"--every: at least {slurm.LEAST_EVERY_S}s: Slurm plans anew each time")
    with _client(args) as client:
        pusher = slurm.Pusher(client, args.step)
        if args.dry_run:
            for command in slurm.commands(pusher.moved()):
                print(shlex.join(command))
        elif args.once:
            pusher.push(pusher.moved())
        else:
            ended = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: ended.set())
            slurm.push_every(pusher, args.every, ended)
    return 0


def _client(args: argparse.Namespace) -> PlacementClient:
    from chipwatt.client import PlacementClient

    options.check_address(args.collector)
    return PlacementClient(args.collector, **options.trust(args))


def _listen(args: argparse.Namespace) -> Any:
    from chipwatt.adapters.http_server import Listen

    return Listen(args.listen, args.http_cert, args.http_key)


def _kube_api(args: argparse.Namespace) -> Any:
    from chipwatt.adapters import kube_api

    if args.kube_api is None:
        return None
    token, ca, url = args.kube_token, args.kube_ca, args.kube_api
    if url == "cluster":
        url = kube_api.address_from_environment()
        token = token or kube_api.SERVICE_ACCOUNT / "token"
        ca = ca or kube_api.SERVICE_ACCOUNT / "ca.crt"
    return kube_api.KubeApi(url, token, ca)


def _draws(given: list[str]) -> dict[str, int]:
    draws = {}
    for item in given:
        name, _, power = item.rpartition("=")
        try:
            draws[name] = options.power_mw(power)
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"--draw {item}: {error}") from None
    return draws
