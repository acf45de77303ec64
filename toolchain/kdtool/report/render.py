"""Render the content of the page as HTML: escaping and the formats of numbers."""

from __future__ import annotations

import functools
from importlib.resources import files

import jinja2

from kdtool import __version__
from kdtool.core.files import sha256_bytes
from kdtool.core.text import printable
from kdtool.report.charts import chart
from kdtool.report.page import FLIPS, Page, title_of
from kdtool.report.verdict import unbroken
from kdtool.results import figures

TEMPLATE = "template.html.jinja"
STYLE = "style.css"


def render(page: Page) -> str:
    """Render the page as HTML; every value is escaped, since class names and paths are hostile data."""
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
        "percent": lambda *arguments: unbroken(figures.percent(*arguments)),
        "points": figures.points,
        "interval": figures.interval,
        "scaled": figures.column,
        "duration": duration,
    }
    return environment.get_template(TEMPLATE).render(page=page, area=chart, limit=FLIPS, version=__version__)


def duration(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def template_hash() -> str:
    """Hash the template and the style sheet with SHA-256."""
    return sha256_bytes((_source(TEMPLATE) + _source(STYLE)).encode())


@functools.cache
def _source(name: str) -> str:
    return files("kdtool.report").joinpath(name).read_text("utf-8")
