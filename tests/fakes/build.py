"""Builds the fake vendor libraries, with the machine's compiler or the one from PyPI."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent


def compiler() -> list[str]:
    """Return the command of a C compiler: ``CC``, ``cc``, or ``python -m ziglang cc``."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return [name]
    return [sys.executable, "-m", "ziglang", "cc"]


def build(
    name: str, sources: Sequence[Path], soname: str, extra: Sequence[str] = (), text: str = ""
) -> Path:
    """Compile ``sources`` (and ``text``, C that was made up) into ``soname``; return its folder.

    A name without ``.so`` makes a program instead of a library. The result is
    kept in the temporary folder under a hash of everything that went in, so a
    suite compiles once.
    """
    command = compiler()
    headers = sorted(HERE.glob("*.h"))
    parts = [path.read_bytes() for path in (*sources, *headers)]
    parts += [" ".join((*command, *extra, soname)).encode(), text.encode()]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"chipwatt-fakes-{os.getuid()}" / f"{name}-{key}"
    if (folder / soname).exists():
        return folder
    folder.parent.mkdir(exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        inputs = [str(path) for path in sources]
        if text:
            generated = Path(scratch) / "generated.c"
            generated.write_text(text)
            inputs.append(str(generated))
        output = Path(scratch) / soname
        flags = ["-O2", "-Wall", f"-I{HERE}"]
        if ".so" in soname:
            flags += ["-shared", "-fPIC", f"-Wl,-soname,{soname}"]
        subprocess.run(
            [*command, *flags, *inputs, "-o", str(output), *extra],
            check=True,
            capture_output=True,
            text=True,
        )
        folder.mkdir(exist_ok=True)
        output.replace(folder / soname)
    return folder
