"""Whatever ends a renewal, and wherever, a certificate can be read with the key that fits it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.errors import CertificateError
from chipwatt.core.key_pair import replace_pair
from chipwatt.core.tls import Material, Renewals, TlsFiles, fitting_key, older_key, read
from fakes import killed_renewals

AUTHORITY = Authority.create("test.example")
SCRATCH = re.compile(r"\.[a-z.]+\.new")


def material() -> Material:
    issued = AUTHORITY.issue(Holder("test.example", "agent", "x"))
    return Material(issued.ca, issued.cert, issued.key)


@cache
def trials(what: str) -> list[Any]:
    paths = (Path(__file__).parents[2], *sys.path)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(killed_renewals.__file__), what, folder],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def names(layout: str) -> list[str]:
    return ["t/ca", "t/cert", "t/key"] if layout == "bundle" else ["a/h.crt", "a/r.crt", "b/k"]


@pytest.mark.parametrize("how", ["kill", "refuse"])
@pytest.mark.parametrize("start", ["whole", "half"])
def test_wherever_it_is_stopped_a_pair_can_be_read_and_renewed(how: str, start: str) -> None:
    seen = [trial for trial in trials(how) if trial["start"] == start]
    assert len(seen) >= 2 * 30, "every step of both layouts"
    for trial in seen:
        assert trial["used"] in {"older", "newer"}, trial
        assert trial["code"] != 0 or trial["used"] == "newer", trial
        assert trial["after"] == "newest", trial
        assert trial["left after"] == names(trial["layout"]), "the next one clears what was left"
    assert {trial["used"] for trial in seen} == {"older", "newer"}
    if how == "kill":
        assert "mixed" in {trial["in place"] for trial in seen}, "it was killed between the two"


def test_where_one_cannot_be_replaced_neither_is_and_nothing_lies_there() -> None:
    refused = [each for each in trials("refuse") if (each["start"], each["code"]) == ("whole", 3)]
    assert refused
    for trial in refused:
        assert trial["in place"] == trial["used"], trial
        extra = set(trial["left"]) - set(names(trial["layout"]))
        # Perhaps the new certificate's name is not on the disk: its older key is kept.
        assert not extra or (trial["used"] == "newer" and extra <= {"t/key.before", "b/k.before"})


def test_each_step_is_on_the_disk_before_the_next() -> None:
    for steps in trials("trace"):
        written: set[str] = set()
        unsynced = None
        for step in steps:
            what, *paths = step.split(" ")
            if what == "sync":
                written.add(paths[0])
                unsynced = None if paths[0] == unsynced else unsynced
            elif what == "os.rename" or (what == "os.remove" and not SCRATCH.search(paths[0])):
                assert unsynced is None, f"{step} may be on the disk before what was to precede it"
                assert what == "os.remove" or paths[0] in written
                unsynced = str(Path(paths[0]).parent)
        assert unsynced is None
        renamed = [Path(step).name for step in steps if step.startswith("os.rename")]
        assert [Path(each).suffix for each in renamed][1] == ".before"
        assert renamed[-2:] in (["key", "cert"], ["k", "h.crt"])


def test_killed_at_any_time_and_again_it_never_loses_the_pair() -> None:
    seen = trials("any")
    assert len(seen) == 61
    for trial in seen:
        assert trial["used"] in {"older", "newer", "newest"}, trial
        assert not [each for each in trial["left"] if each not in names("bundle")
                    and each != "t/key.before" and not SCRATCH.search(each)], trial  # fmt: skip
    assert seen[-1] == {"used": "newer", "left": names("bundle")}


def test_who_reads_meanwhile_never_meets_half_a_renewal() -> None:
    seen = trials("meanwhile")
    assert {trial["used"] for trial in seen} <= {"older", "newer", "newest"}
    assert all(trial["whole"] for trial in seen)
    assert any(trial["renewed"] for trial in seen)


def half(folder: Path) -> tuple[TlsFiles, Material]:
    """Leave what a kill between key and certificate leaves."""
    files, before = TlsFiles.in_bundle(folder), material()
    replace_pair(files, before)
    older_key(files.key).write_bytes(before.key)
    files.key.write_bytes(material().key)
    return files, before


def test_a_half_renewal_is_none_for_who_runs_and_none_for_who_starts(tmp_path: Path) -> None:
    files, before = half(tmp_path)
    assert read(files) == before
    assert fitting_key(files.cert, files.key) == older_key(files.key)
    running = Renewals(files)
    assert running.read() == before
    files.key.write_bytes(material().key)
    assert not running.is_renewed(), "what is used is what would be read"
    new = material()
    replace_pair(files, new)
    assert running.renewed() == new
    assert running.renewed() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_the_older_key_is_as_closed_as_the_key(tmp_path: Path) -> None:
    files = TlsFiles.in_bundle(tmp_path)
    replace_pair(files, material())
    for mode in (0o600, 0o640, 0o644):
        files.key.chmod(mode)
        seen = []

        def sync(descriptor: int) -> None:
            os.fsync(descriptor)
            if older_key(files.key).exists():
                seen.append(older_key(files.key).stat().st_mode & 0o777)  # noqa: B023

        replace_pair(files, material(), sync=sync)
        assert set(seen) == {mode & 0o640}


def test_a_folder_in_the_certificates_place_costs_no_key(tmp_path: Path) -> None:
    files, before = TlsFiles.in_bundle(tmp_path), material()
    replace_pair(files, before)
    files.cert.unlink()
    files.cert.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_pair(files, material())
    assert files.key.read_bytes() == before.key
    issued = AUTHORITY.issue(Holder("test.example", "agent", "x"))
    with pytest.raises(CertificateError, match=f"{files.cert}: a folder, where a file is to be"):
        issued.replace(files)
    files.key.unlink()
    with pytest.raises(IsADirectoryError):
        replace_pair(files, material())
    assert not files.key.exists(), "a first issue leaves no key without a certificate"
