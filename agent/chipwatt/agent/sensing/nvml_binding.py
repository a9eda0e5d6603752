"""Getting at NVML through ``nvidia-ml-py``: import, start, and the values of fields."""

from __future__ import annotations

import ctypes
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from chipwatt.agent.sensing.contract import SourceUnavailable
from chipwatt.core.model import AbsentReason

_NO_PERMISSION, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND = 4, 9, 12  # as in nvml.h
_NO_DATA = 21
_LIBRARY = "libnvidia-ml.so.1"
GPU_GONE = frozenset({15, 16, 28})  # lost, reset required, not found
SILENT = GPU_GONE | {4, 10, 11}  # no permission, timeout, interrupt: it may answer later
LIBRARY_GONE = frozenset({1, 9, 18})  # uninitialized, driver not loaded, version mismatch
_MEMBER_OF_TYPE = {1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


def load_binding() -> Any:
    """Import ``pynvml``; raises SourceUnavailable."""
    try:
        with warnings.catch_warnings():
            # The abandoned package called pynvml warns at import that it is not the real one.
            warnings.simplefilter("ignore", FutureWarning)
            nvml = importlib.import_module("pynvml")
    except ImportError:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "the Python module pynvml is missing: run pip install 'chipwatt[nvidia]'",
        ) from None
    if not hasattr(nvml, "_nvmlGetFunctionPointer"):
        raise SourceUnavailable(
            AbsentReason.LIBRARY_FAILED,
            f"{nvml.__file__} is no binding of NVIDIA's and hides the real one: run "
            "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py",
        )
    return nvml


def does_not_start(error: Any) -> SourceUnavailable:
    """Return what an NVMLError of the first calls means for the person at this host."""
    if error.value == _LIBRARY_NOT_FOUND and (problem := _why_not_loaded()):
        return SourceUnavailable(
            AbsentReason.LIBRARY_FAILED,
            f"{_LIBRARY} is on this host and cannot be loaded ({problem}): install the NVIDIA "
            "driver's user-space part anew, in the version of its kernel module",
        )
    if error.value == _LIBRARY_NOT_FOUND:
        return SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            f"{_LIBRARY} is not on this host: it comes with the NVIDIA driver (a container "
            "gets it from the NVIDIA runtime); without an NVIDIA GPU nothing is missing",
        )
    if error.value == _NO_PERMISSION:
        return SourceUnavailable(
            AbsentReason.PERMISSION_DENIED,
            "NVML may not be used: let the agent's user read and write /dev/nvidiactl",
        )
    hint = (
        "run modprobe nvidia" if error.value == _DRIVER_NOT_LOADED else "see what nvidia-smi says"
    )
    return SourceUnavailable(AbsentReason.LIBRARY_FAILED, f"NVML does not start: {error}; {hint}")


def read_fields(nvml: Any, handle: Any, fields: Sequence[tuple[int, int]]) -> list[Any]:
    """Read ``fields`` (id, scope) of one GPU in one call: per field an integer or an NVMLError.

    Success of the call means only that some value is good. Raises NVMLError
    where there is none, and where the GPU or the driver is gone.
    """
    answers = []
    for value in nvml.nvmlDeviceGetFieldValues(handle, list(fields)):
        code = int(value.nvmlReturn)
        if code in GPU_GONE or code in LIBRARY_GONE:
            raise nvml.NVMLError(code)
        number = _integer(value)
        answers.append(nvml.NVMLError(code or _NO_DATA) if number is None else number)
    return answers


def ask(nvml: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what an optional call gives, None where this GPU or driver does not."""
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


def _why_not_loaded() -> str:
    """Return what the dynamic linker says of a library that is there; empty where none is."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        said = str(error)
        # Said of the library itself there is none; said of another, one that it needs is missing.
        nowhere = said.startswith(f"{_LIBRARY}: cannot open shared object file: No such file")
        return "" if nowhere else said
    return ""


def _integer(value: Any) -> int | None:
    """Return what an ``nvmlFieldValue_t`` holds, None where it carries an error or no integer.

    The union is read by its declared type: the other members may hold rubbish.
    """
    member = _MEMBER_OF_TYPE.get(value.valueType)
    if value.nvmlReturn or member is None:
        return None
    return int(getattr(value.value, member))
