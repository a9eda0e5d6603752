"""Getting at AMD SMI through ``amdsmi``, whose import fails in ways of its own."""

from __future__ import annotations

import contextlib
import importlib
import io
from types import ModuleType

from chipwatt.agent.sensing.contract import SourceUnavailable
from chipwatt.core.model import AbsentReason


def load_binding() -> ModuleType:
    """Import ``amdsmi``, which prints and raises KeyError or AttributeError on a bad library."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("amdsmi")
    except ModuleNotFoundError:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "the Python package amdsmi is not installed: install the one that came with ROCm "
            "(/opt/rocm/share/amd_smi), or pip install 'chipwatt[amd]'",
        ) from None
    except (KeyError, OSError):
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "libamd_smi.so was not found: install ROCm's amd-smi-lib or set ROCM_PATH",
        ) from None
    except (AttributeError, ImportError) as error:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_FAILED,
            f"the package amdsmi does not match libamd_smi.so ({error}): "
            "install the package of the same ROCm release",
        ) from None
