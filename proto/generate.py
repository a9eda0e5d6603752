"""Write the generated code beside its schema, or check that it is fresh.

``python proto/generate.py`` rewrites; ``--check`` compares byte for byte and
exits 1 where a file differs, is missing or has no schema.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SCHEMA_DIR = Path("chipwatt/v1")


def generate(out: Path) -> None:
    """Run the pinned generator over every schema into ``out``."""
    from grpc_tools import protoc

    scripts = Path(sys.executable).parent
    schemas = sorted(str(path.relative_to(ROOT)) for path in (ROOT / SCHEMA_DIR).glob("*.proto"))
    arguments = ["protoc", f"-I{ROOT}"]
    for plugin in ("mypy", "mypy_grpc"):
        executable = scripts / f"protoc-gen-{plugin}"
        arguments += [f"--plugin=protoc-gen-{plugin}={executable}", f"--{plugin}_out={out}"]
    arguments += [f"--python_out={out}", f"--grpc_python_out={out}", *schemas]
    if protoc.main(arguments) != 0:
        sys.exit("generate: the schema does not compile; see above")


def generated(root: Path) -> dict[str, bytes]:
    """Return the generated files below ``root`` by name."""
    return {path.name: path.read_bytes() for path in (root / SCHEMA_DIR).glob("*_pb2*.py*")}


def main() -> None:
    """Rewrite, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, present = generated(Path(folder)), generated(ROOT)
    stale = sorted(
        name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name)
    )
    if stale:
        sys.exit(f"generate: stale, run `python proto/generate.py`: {', '.join(stale)}")


if __name__ == "__main__":
    main()
