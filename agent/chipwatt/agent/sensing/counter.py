"""Where the kernel's RAPL energy counter wraps, and how coarse it is.

The register behind ``energy_uj`` has 32 bits. The kernel
(``drivers/powercap/intel_rapl_common.c``) multiplies it by the energy unit,
which it keeps in whole nanojoules (2^-14 J is 61035), and truncates to µJ;
``max_energy_range_uj`` is that product for the register's largest value,
2^32 - 1. One more step and the register is 0 again, so the counter's modulus is
the range *plus one unit*; leaving the unit out loses it at every wrap.
"""

from __future__ import annotations

_REGISTER = 1 << 32


def modulus_of_range(range_uj: int) -> tuple[int, int]:
    """Return (modulus, smallest step) in µJ for a ``max_energy_range_uj``.

    The modulus is 2^32 units rounded to the nearest µJ, exact wherever the unit
    is a whole number of µJ and at most half a µJ off otherwise, far below one
    step. A range that no 32-bit register with steps of 1 µJ or more can have
    counts single µJ. ``(0, 1)``, a counter that never wraps, for a range of 0.
    """
    if range_uj <= 0:
        return 0, 1
    if range_uj < _REGISTER:
        return range_uj + 1, 1
    unit_nj = -(-range_uj * 1000 // (_REGISTER - 1))
    if (_REGISTER - 1) * unit_nj // 1000 == range_uj:
        return (_REGISTER * unit_nj + 500) // 1000, -(-unit_nj // 1000)
    # A kernel that does not truncate its unit: the range is 2^32 - 1 steps of modulus / 2^32 and
    # the truncation took less than 1 µJ, so the modulus is the one whole number below this.
    modulus_uj = (range_uj + 1) * _REGISTER // (_REGISTER - 1)
    return modulus_uj, -(-modulus_uj // _REGISTER)
