"""Makes a GPU busy for exact times: a kernel that computes until a clock says stop.

A program of its own (``python -m hardware.spin UUID``), so that CUDA's threads do
not disturb whoever polls the card. It answers each line ``BUSY_MS IDLE_MS COUNT``
on standard input with a JSON list of [start, end] of every busy time, monotonic
ns; its first line of output is ``{"gpu": name}`` or ``{"error": reason}``. Uses
nothing but the driver (``libcuda.so.1``); changes no setting of the card.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
import uuid
from typing import Any

_KERNEL = b"chipwatt_spin"
_PTX = """\
.version {version}
.target {target}
.address_size 64
.visible .entry chipwatt_spin(.param .u64 duration_ns, .param .u64 result)
{{
    .reg .pred %go;
    .reg .u64 %begin, %at, %limit, %out;
    .reg .u32 %n, %m;
    .reg .f32 %a, %b, %c, %d, %x;
    ld.param.u64 %limit, [duration_ns];
    ld.param.u64 %out, [result];
    mov.u32 %n, %tid.x;
    mov.u32 %m, 12345;
    cvt.rn.f32.u32 %a, %n;
    mov.f32 %b, 0f3F8CCCCD;
    mov.f32 %c, 0f3F99999A;
    mov.f32 %d, 0f3FA66666;
    mov.f32 %x, 0f3F7FFF58;
    mov.u64 %begin, %globaltimer;
again:
{body}
    mov.u64 %at, %globaltimer;
    sub.u64 %at, %at, %begin;
    setp.lt.u64 %go, %at, %limit;
    @%go bra again;
    add.f32 %a, %a, %b;
    add.f32 %c, %c, %d;
    add.f32 %a, %a, %c;
    cvt.rn.f32.u32 %b, %m;
    add.f32 %a, %a, %b;
    setp.eq.f32 %go, %a, 0f7149F2CA;
    @%go st.global.f32 [%out], %a;
    ret;
}}
"""
_BODY = """\
    fma.rn.f32 %a, %a, %x, %d;
    fma.rn.f32 %b, %b, %x, %a;
    mad.lo.u32 %m, %m, 1664525, %n;
    fma.rn.f32 %c, %c, %x, %b;
    fma.rn.f32 %d, %d, %x, %x;
    mad.lo.u32 %n, %n, 22695477, %m;
"""
_UNROLLED = 64
_THREADS, _BLOCKS_A_PROCESSOR = 256, 8
_PROCESSORS, _MAJOR, _MINOR = 16, 75, 76  # CUdevice_attribute, cuda.h
MOST_MS = 1500
"""Longest single launch: a card that drives a display kills kernels of some seconds."""


def ptx(major: int) -> str:
    """Return the kernel for cards of a compute capability; newer ones run it, too."""
    version, target = ("7.0", "sm_80") if major >= 8 else ("6.3", "sm_70")
    return _PTX.format(version=version, target=target, body=_BODY * _UNROLLED)


class CudaError(Exception):
    """The driver refused."""


class Spinner:
    """One card and the kernel on it."""

    def __init__(self, wanted: str) -> None:
        """Take the card with this UUID (``GPU-…``). Raises CudaError."""
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError(f"no CUDA driver: {error}") from None
        self._do("cuInit", 0)
        device = self._find(wanted)
        context, module = ctypes.c_void_p(), ctypes.c_void_p()
        self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._do("cuCtxSetCurrent", context)
        image = ctypes.c_char_p(ptx(self._attribute(_MAJOR, device)).encode())
        self._do("cuModuleLoadData", ctypes.byref(module), image)
        self._kernel = ctypes.c_void_p()
        self._do("cuModuleGetFunction", ctypes.byref(self._kernel), module, _KERNEL)
        self._result = ctypes.c_uint64()
        self._do("cuMemAlloc_v2", ctypes.byref(self._result), ctypes.c_size_t(4))
        self._blocks = self._attribute(_PROCESSORS, device) * _BLOCKS_A_PROCESSOR
        name = ctypes.create_string_buffer(96)
        self._do("cuDeviceGetName", name, len(name), device)
        self.name = name.value.decode(errors="replace")

    def busy(self, duration_ms: int) -> tuple[int, int]:
        """Compute for a time; return its start and end, monotonic ns."""
        began_ns = time.monotonic_ns()
        left_ms = duration_ms
        while left_ms > 0:
            part_ms = min(left_ms, MOST_MS)
            self._launch(part_ms * 1_000_000)
            left_ms -= part_ms
        return began_ns, time.monotonic_ns()

    def _launch(self, duration_ns: int) -> None:
        duration = ctypes.c_uint64(duration_ns)
        arguments = (ctypes.c_void_p * 2)(
            ctypes.addressof(duration), ctypes.addressof(self._result)
        )
        shape = (self._blocks, 1, 1, _THREADS, 1, 1, 0)
        self._do("cuLaunchKernel", self._kernel, *shape, None, arguments, None)
        self._do("cuCtxSynchronize")

    def _find(self, wanted: str) -> ctypes.c_int:
        count = ctypes.c_int()
        self._do("cuDeviceGetCount", ctypes.byref(count))
        for index in range(count.value):
            device, raw = ctypes.c_int(), ctypes.create_string_buffer(16)
            self._do("cuDeviceGet", ctypes.byref(device), index)
            self._do("cuDeviceGetUuid_v2", raw, device)
            if f"GPU-{uuid.UUID(bytes=raw.raw)}" == wanted:
                return device
        raise CudaError(f"CUDA shows {count.value} cards, none of which is {wanted}")

    def _attribute(self, attribute: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self._do("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        return value.value

    def _do(self, name: str, *arguments: Any) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code:
            raise CudaError(f"{name} says {code}")


def main() -> None:
    """Serve lines until standard input ends."""
    try:
        spinner = Spinner(sys.argv[1])
    except CudaError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    spinner.busy(1)  # the first launch compiles
    print(json.dumps({"gpu": spinner.name}), flush=True)
    for line in sys.stdin:
        busy_ms, idle_ms, count = map(int, line.split())
        times = []
        next_ns = time.monotonic_ns()
        for _ in range(count):
            time.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)
            times.append(spinner.busy(busy_ms))
            next_ns += (busy_ms + idle_ms) * 1_000_000
        time.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
