"""Numbers as a person reads them: each with its unit and a fitting precision. None is shown as a dash."""

import math
import time

DASH = "—"


def duration(seconds: float | None, language: str) -> str:
    """1時間23分, 1分40秒, 12秒 (1 h 23 min, 1 min 40 s, 12 s): two units at most."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    whole = max(0, round(seconds))
    units = {"ja": ("日", "時間", "分", "秒"), "en": (" d", " h", " min", " s")}[language]
    gap = "" if language == "ja" else " "
    sizes = (86400, 3600, 60, 1)
    first = next((i for i, size in enumerate(sizes) if whole >= size), 3)
    head = f"{whole // sizes[first]}{units[first]}"
    if first == 3:
        return head
    rest = whole % sizes[first] // sizes[first + 1]
    return f"{head}{gap}{rest}{units[first + 1]}" if rest else head


def fixed(value: float | None, decimals: int, unit: str = "") -> str:
    """A number with so many decimals; a dash for None, and the word for what is no number."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞"
    return f"{value:,.{decimals}f}{unit}"


def loss(value: float | None) -> str:
    """Nats, three decimals."""
    return fixed(value, 3)


def rate(value: float | None) -> str:
    """Tokens a second, no decimals."""
    return fixed(value, 0)


def percent(value: float | None, decimals: int = 1) -> str:
    """A figure that is already in per cent."""
    return fixed(value, decimals, " %")


def gib(size: float | None) -> str:
    """Bytes in GiB, one decimal."""
    return fixed(None if size is None else size / 2**30, 1, " GiB")


def file_size(size: float | None) -> str:
    """Bytes in the unit that suits a file."""
    if size is None:
        return DASH
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return fixed(size / scale, 1, f" {unit}")
    return f"{size:,.0f} B"


def small(value: float | None) -> str:
    """A small figure such as a learning rate or an error: two significant digits, 1.2e-7."""
    if value is None or not math.isfinite(value):
        return fixed(value, 0)
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"


def count(value: int | None) -> str:
    """A whole number with separators."""
    return DASH if value is None else f"{value:,}"


def millions(value: int | None) -> str:
    """Parameters: 3.82 B, 4.1 M, 12,345."""
    if value is None:
        return DASH
    if value >= 10**9:
        return f"{value / 10**9:.2f} B"
    return f"{value / 10**6:.1f} M" if value >= 10**6 else f"{value:,}"


def clock(moment: float) -> str:
    """The time of day of an event."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


def date(moment: float) -> str:
    """Day and time, sortable."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
