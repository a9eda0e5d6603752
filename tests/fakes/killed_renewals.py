"""Renews a pair in a child that is killed, or refused by the kernel, at a step of its choice.

A program of its own, since the process that forks may have one thread alone and Python's
audit hooks, which see each system call that names a file, stay for good. It prints a line
of JSON a trial.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.key_pair import replace_pair
from chipwatt.core.tls import Material, Renewals, TlsFiles, older_key, read

STEPS = {"open", "os.rename", "os.remove", "os.chmod", "os.chown", "os.mkdir"}
REFUSED, UNTOUCHED = 3, 0
AUTHORITY = Authority.create("a.example")
PAIRS = [AUTHORITY.issue(Holder("a.example", "agent", "x")) for _ in range(3)]
OLDER, NEWER, NEWEST = (Material(each.ca, each.cert, each.key) for each in PAIRS)
Step = Callable[[str], None]


def lay(folder: Path, start: str, layout: str) -> TlsFiles:
    """Make the files as they are before: a whole pair, or what a kill between the two left."""
    shutil.rmtree(folder, ignore_errors=True)
    names = ("t/ca", "t/cert", "t/key") if layout == "bundle" else ("a/r.crt", "a/h.crt", "b/k")
    files = TlsFiles(*(folder / name for name in names))
    folder.mkdir()
    replace_pair(files, OLDER)
    if start == "half":
        older_key(files.key).write_bytes(OLDER.key)
        files.key.write_bytes(NEWEST.key)
    return files


def renew(files: TlsFiles, new: Material, step: Step) -> int:
    def sync(descriptor: int) -> None:
        step(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        os.fsync(descriptor)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event in STEPS:
            step(" ".join([event, *(str(each) for each in args[:2])]))

    sys.addaudithook(hook)
    try:
        replace_pair(files, new, sync=sync)
    except OSError:
        return REFUSED
    return UNTOUCHED


def in_child(work: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stopping(at: int, how: str) -> Step:
    seen = 0

    def step(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == at and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif seen == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return step


def found(files: TlsFiles, known: dict[str, Material]) -> str:
    """Say which pair is read; ``nothing that fits`` would be the end of the host's service."""
    try:
        material = read(files)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test is to show it
        return str(error)
    return next((name for name, each in known.items() if each == material), "mixed")


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def stopped_at_each_step(folder: Path, how: str) -> None:
    known = {"older": OLDER, "newer": NEWER}
    for start in ("whole", "half"):
        for layout in ("bundle", "apart"):
            code, at = -signal.SIGKILL, 0
            while code != UNTOUCHED or at < 10:  # a step that may fail unnoticed ends nothing
                at += 1
                files = lay(folder, start, layout)
                code = in_child(lambda: renew(files, NEWER, stopping(at, how)))  # noqa: B023
                trial: dict[str, object] = {
                    "start": start,
                    "layout": layout,
                    "at": at,
                    "code": code,
                }
                trial |= {"used": found(files, known), "left": left(folder)}
                trial["in place"] = found_in_place(files)
                replace_pair(files, NEWEST)
                after = found(files, {"newest": NEWEST})
                print(json.dumps(trial | {"after": after, "left after": left(folder)}))


def found_in_place(files: TlsFiles) -> str:
    pair = (files.cert.read_bytes(), files.key.read_bytes())
    known = {"older": OLDER, "newer": NEWER}
    return next((name for name, each in known.items() if pair == (each.cert, each.key)), "mixed")


def traced(folder: Path) -> None:
    for layout in ("bundle", "apart"):
        files = lay(folder, "whole", layout)
        steps: list[str] = []

        def work() -> int:
            code = renew(files, NEWER, steps.append)  # noqa: B023
            print(json.dumps(steps), flush=True)  # noqa: B023
            return code

        in_child(work)


def endless(files: TlsFiles, pause_s: float) -> int:
    while True:
        for new in (NEWER, NEWEST, OLDER):
            replace_pair(files, new)
            time.sleep(pause_s)


def killed_at_any_time(folder: Path) -> None:
    files = lay(folder, "whole", "bundle")
    known = {"older": OLDER, "newer": NEWER, "newest": NEWEST}
    chance = random.Random(7)
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            os._exit(endless(files, 0))
        time.sleep(chance.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        print(json.dumps({"used": found(files, known), "left": left(folder)}))
    replace_pair(files, NEWER)
    print(json.dumps({"used": found(files, known), "left": left(folder)}))


def read_meanwhile(folder: Path) -> None:
    files = lay(folder, "whole", "apart")
    known = {"older": OLDER, "newer": NEWER, "newest": NEWEST}
    renewals = Renewals(files)
    renewals.read()
    pid = os.fork()
    if pid == 0:
        os._exit(endless(files, 0.005))
    try:
        for _ in range(300):
            material = renewals.renewed()
            whole = material is None or material in known.values()
            print(json.dumps({"used": found(files, known), "renewed": material is not None,
                              "whole": whole}))  # fmt: skip
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    where = Path(sys.argv[2]) / "pki"
    trials: dict[str, Callable[[], None]] = {
        "kill": lambda: stopped_at_each_step(where, "kill"),
        "refuse": lambda: stopped_at_each_step(where, "refuse"),
        "trace": lambda: traced(where),
        "any": lambda: killed_at_any_time(where),
        "meanwhile": lambda: read_meanwhile(where),
    }
    trials[sys.argv[1]]()
