"""The fake ``libamd_smi.so``: built to the symbols that the installed binding asks for."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

from fakes.build import HERE, build

_SYMBOL = re.compile(r"_libraries\['libamd_smi\.so'\]\.(amdsmi_\w+)")
_DEFINED = re.compile(r"^int (amdsmi_\w+)\(", re.MULTILINE)
_NOT_SUPPORTED = 2


def library_folder() -> Path:
    """Build the library; return the folder for ``ROCM_PATH``'s ``lib``, or LD_LIBRARY_PATH.

    The binding binds every symbol at import, so those that the fake does not
    play answer "not supported".
    """
    files = distribution("amdsmi").files or []
    wrapper = next(file for file in files if file.name == "amdsmi_wrapper.py").locate()
    wanted = set(_SYMBOL.findall(Path(str(wrapper)).read_text()))
    source = HERE / "amd_smi.c"
    played = set(_DEFINED.findall(source.read_text()))
    stubs = "".join(
        f"int {name}(void) {{ return {_NOT_SUPPORTED}; }}\n" for name in sorted(wanted - played)
    )
    return build("amd-smi", [source], "libamd_smi.so", text=stubs)
