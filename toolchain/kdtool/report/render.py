"""From the gathered page to HTML: escaping and the formats of numbers."""

from __future__ import annotations

import functools
from importlib.resources import files

import jinja2

from kdtool import __version__
from kdtool.core.files import sha256_bytes
from kdtool.core.text import printable
from kdtool.report.charts import chart
from kdtool.report.page import FLIPS, Page, title_of

TEMPLATE = "template.html.jinja"
STYLE = "style.css"
MISSING = "–"


def render(page: Page) -> str:
    """The page as HTML. Every value is escaped: class names and paths are hostile data."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": lambda value: printable(str(value)),
        "called": title_of,
        "percent": percent,
        "points": points,
        "interval": interval,
        "scaled": scaled,
        "duration": duration,
    }
    return environment.get_template(TEMPLATE).render(page=page, area=chart, limit=FLIPS, version=__version__)


def percent(value: float | None, decimals: int = 1) -> str:
    """A share of 1 as a percentage."""
    return MISSING if value is None else f"{value * 100:.{decimals}f}\u00a0%"


def points(value: float | None, decimals: int = 1) -> str:
    """A share of 1 in percent, without the sign (a column's heading has it)."""
    return MISSING if value is None else f"{value * 100:.{decimals}f}"


def interval(bounds: tuple[float, float] | None, decimals: int = 1) -> str:
    """Two shares of 1 as a range in percent, without the sign."""
    return MISSING if not bounds else "–".join(f"{bound * 100:.{decimals}f}" for bound in bounds)


def scaled(value: float | None, unit: float, decimals: int = 1) -> str:
    """`value` in multiples of `unit` (1e6: millions), with enough digits where it is small."""
    if not value:
        return MISSING
    quotient = value / unit
    return f"{quotient:,.{decimals}f}" if quotient >= 10**-decimals else f"{quotient:.2g}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def template_hash() -> str:
    """SHA-256 of everything the page's look depends on."""
    return sha256_bytes((_source(TEMPLATE) + _source(STYLE)).encode())


@functools.cache
def _source(name: str) -> str:
    return files("kdtool.report").joinpath(name).read_text("utf-8")
