"""Numbers as tables and figures write them; None is "-"."""

from .intervals import Interval

NONE = "-"


def far_name(far: float) -> str:
    """A FAR as tables write it: 0.001 -> 1e-3."""
    mantissa, exponent = f"{far:.8e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def percent(rate: float | None) -> str:
    """0.9876 -> 98.76."""
    return NONE if rate is None else f"{100 * rate:.2f}"


def percent_interval(ends: Interval | None) -> str:
    """(0.9, 0.95) -> [90.00, 95.00]."""
    return NONE if ends is None else f"[{percent(ends[0])}, {percent(ends[1])}]"


def fraction(rate: float | None) -> str:
    """A rate that may be very small, in three digits: 0.0001234 -> 1.23e-4."""
    if rate is None or rate == 0:
        return NONE if rate is None else "0"
    mantissa, exponent = f"{rate:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def fraction_interval(ends: Interval | None) -> str:
    """(0.0001234, 0.002) -> [1.23e-4, 2.00e-3]."""
    return NONE if ends is None else f"[{fraction(ends[0])}, {fraction(ends[1])}]"


def shorten(text: str, letters: int) -> str:
    """The text itself, or its two ends around an ellipsis."""
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}…{text[-end:]}"
