"""How tables print figures: one function for each kind of cell, for terminal, report and bundle."""

from __future__ import annotations

from kdtool.results.statistics import Interval

MISSING = "–"


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals."""
    return MISSING if value is None else f"{value:.{decimals}f}"


def points(value: float | None, decimals: int = 1) -> str:
    """A share of 1 in percent, without the sign (a column's heading has it)."""
    return fixed(None if value is None else 100 * value, decimals)


def percent(value: float | None, decimals: int = 1) -> str:
    """A share of 1 in percent, with the sign."""
    return MISSING if value is None else f"{points(value, decimals)} %"


def interval(bounds: Interval | None, decimals: int = 1) -> str:
    """Two shares of 1 as a range in percent, without the sign."""
    return MISSING if not bounds else "–".join(points(bound, decimals) for bound in bounds)


def share(value: float | None, bounds: Interval | None) -> str:
    """A share of 1 in percent with its interval, if that has a width (the teacher's retention has none)."""
    between = f" ({interval(bounds)})" if bounds and bounds[0] != bounds[1] else ""
    return MISSING if value is None else points(value, 2) + between


def difference(value: float | None, bounds: Interval | None) -> str:
    """Percentage points with their sign and interval."""
    between = f" ({bounds[0]:+.1f} to {bounds[1]:+.1f})" if bounds else ""
    return MISSING if value is None else f"{value:+.2f}{between}"


def milliseconds(value: float | None, bounds: Interval | None) -> str:
    """A time with its interval."""
    between = f" ({bounds[0]:.2f}–{bounds[1]:.2f})" if bounds else ""
    return MISSING if value is None else f"{value:.2f}{between}"


def per_second(value: float | None, bounds: Interval | None) -> str:
    """Images per second with their interval."""
    between = f" ({short(bounds[0])}–{short(bounds[1])})" if bounds else ""
    return short(value) + between if value is not None else MISSING


def short(value: float | None) -> str:
    """Three digits, or all before the point where there are more."""
    return MISSING if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def scaled(value: float | None, unit: float) -> str:
    """Multiples of `unit` (1e6: millions) with two decimals; three digits of less than one."""
    if value is None:
        return MISSING
    return f"{value / unit:.2f}" if value >= unit else f"{value / unit:.3g}"


def column(value: float | None, unit: float, decimals: int = 1) -> str:
    """Multiples of `unit`, each with as many decimals as the column; two digits of what would be zero."""
    if not value:
        return MISSING
    quotient = value / unit
    return f"{quotient:,.{decimals}f}" if quotient >= 10**-decimals else f"{quotient:.2g}"
