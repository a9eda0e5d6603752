"""A group gets a socket without a privilege, in a folder that hands its group down."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chipwatt.agent.socket_group import open_to
from chipwatt.core.errors import ConfigError

OPENS = """\
import os, socket, sys
from pathlib import Path
from chipwatt.agent.socket_group import open_to
from chipwatt.core.errors import ConfigError
os.umask(0o177)
socket.socket(socket.AF_UNIX).bind(sys.argv[1])
try:
    open_to(Path(sys.argv[1]), sys.argv[2])
except ConfigError as error:
    sys.exit(str(error))
"""
CONNECTS = """\
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(54321)
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""
ALONE = ["unshare", "--user", "--map-root-user"]
"""In a user namespace that knows one user and one group, as PrivateUsers= makes it."""
OTHER = next(
    (g for g in grp.getgrall() if g.gr_gid not in {0, os.getegid()} and g.gr_gid < 60_000), None
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or OTHER is None, reason="only root may give a folder to any group"
)


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


needs_namespace = pytest.mark.skipif(not can_unshare(), reason="no user namespace can be made here")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder of another group, as chipwatt.tmpfiles makes it; all may reach it."""
    assert OTHER is not None
    with tempfile.TemporaryDirectory(prefix="cw") as name:
        path = Path(name)
        os.chown(path, -1, OTHER.gr_gid)
        path.chmod(0o2750)
        yield path


def listening(path: Path) -> socket.socket:
    mask = os.umask(0o177)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
    finally:
        os.umask(mask)
    return listener


def connects(path: Path, group: int) -> bool:
    """Whether a user of no name, in one group, can connect."""
    command = [sys.executable, "-c", CONNECTS, str(path), str(group)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or "PermissionError" in done.stderr
    return done.returncode == 0


@needs_root
def test_nothing_is_given_away_where_the_folder_hands_its_group_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OTHER is not None
    path = folder / "s"

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as the unit's filter answers

    monkeypatch.setattr(os, "chown", forbidden)
    with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        open_to(path, OTHER.gr_name)
        assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (OTHER.gr_gid, 0o660)


@needs_root
def test_who_is_in_the_group_connects_and_nobody_else(folder: Path) -> None:
    assert OTHER is not None
    path = folder / "s"
    with listening(path):
        assert not connects(path, OTHER.gr_gid), "not before it is said"
        open_to(path, OTHER.gr_name)
        assert connects(path, OTHER.gr_gid)
        assert not connects(path, 54321)


@needs_root
@needs_namespace
def test_a_user_namespace_that_does_not_know_the_group_is_no_obstacle(folder: Path) -> None:
    assert OTHER is not None
    path = folder / "s"
    command = [*ALONE, sys.executable, "-c", OPENS, str(path), OTHER.gr_name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (OTHER.gr_gid, 0o660)


@needs_namespace
@pytest.mark.skipif(OTHER is None, reason="this host has one group")
def test_without_such_a_folder_there_is_a_sentence_that_says_to_make_one() -> None:
    assert OTHER is not None
    with tempfile.TemporaryDirectory(prefix="cw") as name:
        path = Path(name) / "s"
        command = [*ALONE, sys.executable, "-c", OPENS, str(path), OTHER.gr_name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert f"{path} cannot be given to {OTHER.gr_name}: " in done.stderr
        assert "mode 2750" in done.stderr
        assert done.stderr.count("\n") == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_group_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"workloads\.group: this host has no group 'no-such'"):
        open_to(tmp_path / "s", "no-such")
