"""Templates of README.md, MODEL_CARD.md and the snippets. Values are escaped: class names may be hostile."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2

from kdtool.core.files import sha256_bytes
from kdtool.core.text import printable
from kdtool.results import figures

SNIPPETS = {  # name in the template of the README → template of the snippet
    "kotlin": "android.kt.jinja",
    "swift": "ios.swift.jinja",
    "dart": "flutter.dart.jinja",
    "reactnative": "reactnative.js.jinja",
    "web": "web.js.jinja",
}
README, CARD = "README.md", "MODEL_CARD.md"
HUB, LOADERS = "HUB.md", "LOADERS.md"  # hub/README.md, and the section that both READMEs contain
REACH = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 3}  # half width of the filter, source pixels
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill the template `template` with `values`."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=False,  # noqa: S701 (Markdown and source code: the filter `md` escapes)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": markdown, "points": figures.points, "interval": figures.interval}
    return environment.get_template(template).render(**values)


def markdown(text: object) -> str:
    """Escape `text`, so that Markdown shows it literally."""
    return _MARKUP.sub(r"\\\1", html.escape(printable(str(text)), quote=False))


def yaml(text: str) -> str:
    """Write `text` as a YAML scalar; a JSON string is one."""
    return json.dumps(text, ensure_ascii=True)


def texts_hash() -> str:
    """SHA-256 of all templates."""
    names = (*(f"{name}.jinja" for name in (README, CARD, HUB, LOADERS)), *SNIPPETS.values())
    return sha256_bytes("".join(_source(name) for name in names).encode())


@functools.cache
def _source(name: str) -> str:
    return files("kdtool.bundle").joinpath("templates", name).read_text("utf-8")
