"""The rule for the unit that renews: may it write where the agent's certificate is.

The unit can write nothing but what it names, so that a folder that ``[tls]`` names and the
unit does not would be noticed when the certificate has ended.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from chipwatt.agent.doctor.finding import Finding, Remedy
from chipwatt.agent.doctor.unit_files import read_unit
from chipwatt.agent.sensing.sysfs import read_text

UNIT = "chipwatt-renew.service"
CONFIG = "etc/chipwatt/agent.toml"
KEY = Path("/etc/chipwatt/tls/key.pem")
"""Where the shipped units expect this host's key."""


def tls_files(root: Path) -> Mapping[str, Path]:
    """Return the absolute paths that ``[tls]`` of the units' configuration names, by setting.

    A file that is not there, or wrong, names none: the agent itself says so.
    """
    try:
        named = tomllib.loads(read_text(root / CONFIG) or "").get("tls", {})
        files = {name: Path(named[name]) for name in ("ca", "cert", "key") if name in named}
    except (tomllib.TOMLDecodeError, AttributeError, TypeError):
        return {}
    return {name: path for name, path in files.items() if path.is_absolute()}


def check_renewal(finding: Finding, root: Path, files: Mapping[str, Path]) -> None:
    """Note the folders of certificate and key into which the unit may not write."""
    unit = read_unit(root, UNIT)
    if not unit.files:
        return
    folders = {files[name].parent for name in ("cert", "key") if name in files}
    closed = sorted(
        folder
        for folder in folders
        if not any(folder.is_relative_to(path) for path in unit.writable)
    )
    if not closed:
        return
    named = ", ".join(map(str, closed))
    finding.missing.append(
        f"{UNIT}: may not write to {named}, where [tls] of /{CONFIG} has what it is to renew"
    )
    finding.remedies.append(
        Remedy(
            "let it write there; the folder has to be root's",
            ("sudo systemctl daemon-reload",),
            f"/etc/systemd/system/{UNIT}.d/tls.conf",
            "[Service]\n" + "".join(f"ReadWritePaths={folder}\n" for folder in closed),
        )
    )
