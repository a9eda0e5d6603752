"""``chipwatt completion``: a completion script made from the argument parsers themselves."""

from __future__ import annotations

import argparse
from typing import Any

from chipwatt.cli.extras import require

SHELLS = ("bash", "zsh", "tcsh")
_INSTALL = """\
bash:  chipwatt completion bash > ~/.local/share/bash-completion/completions/chipwatt
zsh:   chipwatt completion zsh > "${fpath[1]}/_chipwatt"
tcsh:  chipwatt completion tcsh > ~/.chipwatt.completion.tcsh, then source it in ~/.tcshrc
"""


def add_parser(subparsers: Any) -> None:
    """Add ``completion`` to the command line."""
    parser = subparsers.add_parser(
        "completion",
        help="completion script for your shell",
        description="Print a completion script for your shell.",
        epilog=_INSTALL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Print the script; raises MissingExtra without shtab."""
    shtab = require("shtab", "shell completion")
    # Imported here, for main imports this module.
    from chipwatt.cli.main import parser_for

    print(shtab.complete(parser_for(), shell=args.shell))
    return 0
