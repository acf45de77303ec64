"""Write the picture and the table of folders in docs/architecture.md: `make docs`.

The arrows are the imports, the descriptions are the first sentences of the docstrings.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "toolchain" / "kdtool"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- from here on written by docs/architecture.py -->\n", "<!-- up to here -->\n"


def layers() -> list[list[str]]:
    """The layers that import-linter keeps, highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [layer.split(" | ") for layer in contract["layers"] if layer != "__main__"]


def imports() -> dict[str, set[str]]:
    """Each module or folder of kdtool → those that it imports."""
    graph = grimp.build_graph("kdtool", cache_dir=None)
    children = graph.find_children("kdtool") - {"kdtool.__main__"}
    for child in children:
        graph.squash_module(child)
    return {
        child.removeprefix("kdtool."): {
            found.removeprefix("kdtool.")
            for found in graph.find_modules_directly_imported_by(child) & children - {child}
        }
        for child in children
    }


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without each arrow a → b that a longer way from a to b implies."""

    def below(name: str) -> set[str]:
        return edges[name].union(*map(below, edges[name]))

    return {name: found - set().union(*map(below, found)) for name, found in edges.items()}


def sentence(name: str) -> str:
    """The first sentence of the docstring of a module or folder, such as `train/loop`."""
    path = PACKAGE / name
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].split(". ")[0].rstrip(".:")
    return f"{first}."


def rooms(name: str) -> list[str]:
    """The folders inside a folder of kdtool."""
    return sorted(path.parent.name for path in (PACKAGE / name).glob("*/__init__.py"))


def modules(name: str) -> int:
    """The number of modules side by side in a folder, `__init__.py` apart."""
    return len([path for path in (PACKAGE / name).glob("*.py") if path.name != "__init__.py"])


def picture() -> list[str]:
    """The folders and their arrows, as lines of Mermaid."""
    lines = ["```mermaid", "flowchart TD"]
    edges = reduced(imports())
    for name in (name for layer in layers() for name in layer):
        inside = f"<br/>{', '.join(rooms(name))}" if rooms(name) else ""
        lines.append(f'    {name}["{name}{inside}"]')
        lines += [f"    {name} --> {found}" for found in sorted(edges[name])]
    return [*lines, "```"]


def table() -> list[str]:
    """The folders, lowest layer first, as lines of a Markdown table."""
    lines = ["| layer | folder | modules | what it holds |", "|---|---|---|---|"]
    for number, layer in enumerate(reversed(layers()), start=1):
        for name in sorted(layer):
            folder = (PACKAGE / name).is_dir()
            lines.append(
                f"| {number} | `{name}{'/' if folder else '.py'}` | {modules(name) if folder else ''} "
                f"| {sentence(name)} |"
            )
            lines += [
                f"| | `{name}/{room}/` | {modules(f'{name}/{room}')} | {sentence(f'{name}/{room}')} |"
                for room in rooms(name)
            ]
    return lines


def page() -> str:
    """The whole page: what people wrote, with the part between the marks made again."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return "".join(
        [before, BEGIN, "\n", *(f"{line}\n" for line in [*picture(), "", *table()]), "\n", END, after]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
