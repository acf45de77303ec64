"""Text of figures in tables: one function for each kind of cell, for terminal, report and bundle."""

from __future__ import annotations

from kdtool.results.statistics.estimate import Interval

MISSING = "–"


def fixed(value: float | None, decimals: int) -> str:
    """Format a number with a fixed number of decimals."""
    return MISSING if value is None else f"{value:.{decimals}f}"


def points(value: float | None, decimals: int = 1) -> str:
    """Format a share of 1 in percent, without the sign % (the heading of the column has it)."""
    return fixed(None if value is None else 100 * value, decimals)


def percent(value: float | None, decimals: int = 1) -> str:
    """Format a share of 1 in percent, with the sign %."""
    return MISSING if value is None else f"{points(value, decimals)} %"


def interval(bounds: Interval | None, decimals: int = 1) -> str:
    """Format two shares of 1 as a range in percent, without the sign %."""
    return MISSING if not bounds else "–".join(points(bound, decimals) for bound in bounds)


def share(value: float | None, bounds: Interval | None) -> str:
    """Format a share of 1 in percent with its interval, unless the interval is one point.

    The retention of the teacher, 100 %, has such an interval.
    """
    between = f" ({interval(bounds)})" if bounds and bounds[0] != bounds[1] else ""
    return MISSING if value is None else points(value, 2) + between


def difference(value: float | None, bounds: Interval | None) -> str:
    """Format percentage points with sign and interval."""
    between = f" ({bounds[0]:+.1f} to {bounds[1]:+.1f})" if bounds else ""
    return MISSING if value is None else f"{value:+.2f}{between}"


def milliseconds(value: float | None, bounds: Interval | None) -> str:
    """Format a time with its interval."""
    between = f" ({bounds[0]:.2f}–{bounds[1]:.2f})" if bounds else ""
    return MISSING if value is None else f"{value:.2f}{between}"


def per_second(value: float | None, bounds: Interval | None) -> str:
    """Format images per second with the interval."""
    between = f" ({short(bounds[0])}–{short(bounds[1])})" if bounds else ""
    return short(value) + between if value is not None else MISSING


def short(value: float | None) -> str:
    """Format a number with three digits, or with all digits before the point if there are more."""
    return MISSING if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def megabytes(size: float) -> str:
    """Format a size in bytes as MB with one decimal."""
    return f"{size / 1e6:.1f} MB"


def resized(before: float, after: float) -> str:
    """Format a size in bytes before and after a change, as MB with one decimal."""
    return f"{before / 1e6:.1f} → {megabytes(after)}"


def gmacs(macs: int, digits: int = 4) -> str:
    """Format multiply–accumulates as GMACs with a number of digits."""
    return f"{macs / 1e9:.{digits}g} GMACs"


def scaled(value: float | None, unit: float) -> str:
    """Format `value` in multiples of `unit` (1e6: millions) with two decimals; below 1 with three digits."""
    if value is None:
        return MISSING
    return f"{value / unit:.2f}" if value >= unit else f"{value / unit:.3g}"


def column(value: float | None, unit: float, decimals: int = 1) -> str:
    """Format `value` in multiples of `unit` with the decimals of the column.

    A value that these decimals would show as zero has two digits.
    """
    if not value:
        return MISSING
    quotient = value / unit
    return f"{quotient:,.{decimals}f}" if quotient >= 10**-decimals else f"{quotient:.2g}"
