"""Decimal text and time stamps to integers, exactly: no float ever stands in between."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

NOTHING = Fraction(0)
_DECIMAL = re.compile(r"([+-]?)(\d{1,20})(?:\.(\d{0,20}))?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_AMERICAN = re.compile(r"(\d\d)-(\d\d)-(\d{4}) (\d\d:\d\d:\d\d(?:\.\d{1,9})?)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decimal(text: str, power_of_ten: int = 0) -> int | None:
    """Return the number in ``text`` times ten to ``power_of_ten``, None where it is none.

    What remains below 1 is rounded to nearest, halves to even.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        return None
    sign, whole, fraction = match[1], match[2], match[3] or ""
    digits, exponent = int(whole + fraction), power_of_ten - len(fraction)
    unit: int = 10 ** abs(exponent)
    if exponent >= 0:
        value = digits * unit
    else:
        value, rest = divmod(digits, unit)
        value += 2 * rest > unit or (2 * rest == unit and value % 2 == 1)
    return -value if sign == "-" else value


def rest(text: str, power_of_ten: int = 0) -> Fraction:
    """Return what ``decimal`` rounds away: the exact number less its; 0 where there is none."""
    if "." not in text and power_of_ten >= 0:
        return NOTHING
    rounded, match = decimal(text, power_of_ten), _DECIMAL.fullmatch(text.strip())
    if rounded is None or match is None:
        return NOTHING
    return Fraction(match[0]) * Fraction(10) ** power_of_ten - rounded


def stamp(text: str) -> int | None:
    """Return unix ns of a time stamp, None where it is none.

    Unix seconds with or without a fraction, ISO 8601, or month-day-year as SPEC's
    PTDaemon writes it. A stamp without an offset counts as UTC, since no file
    tells its zone; that moves a whole trace by hours, never one sample against another.
    """
    text = text.strip()
    american = _AMERICAN.fullmatch(text)
    if american:
        month, day, year, clock = american.groups()
        text = f"{year}-{month}-{day} {clock}"
    iso = _ISO.fullmatch(text)
    if iso is None:
        return decimal(text, 9)
    year_to_second, fraction, offset = iso.groups()[:6], iso[7] or "", iso[8]
    try:
        moment = datetime.strptime("".join(year_to_second), "%Y%m%d%H%M%S").replace(
            tzinfo=_zone(offset)
        )
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


def _zone(offset: str | None) -> timezone:
    if offset is None or offset == "Z":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
