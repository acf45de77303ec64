"""Write the table of tests/README.md, which tests test each module, from the imports (`make docs`).

A test file tests a module if it contains the module's name, in an import or in a string, or a public name of
`kdtool` that the module defines, or the module's command, in `kdtool(…)` or `main([…])`. If no test names a
module, the tests of the modules that import it test it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import kdtool

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "toolchain" / "kdtool"
README = TESTS / "README.md"
BEGIN, END = "<!-- table: make docs -->\n", "<!-- end of the table -->\n"
NAMED = 4  # test files for each module
NO_TESTS = ("contract/test_imports.py", "packaging/test_api.py")  # they name modules, and test none
ENTRY = ("kdtool", "kdtool.__main__")
DOTTED = re.compile(r"kdtool(?:\.\w+)+")
COMMAND = re.compile(r"\b(?:kdtool\(|main\(\[)\s*\"(\w+)\"")

Tests = Mapping[str, list[str]]  # module → test files


def modules() -> dict[str, Path]:
    """Name → file; without packages that have only a docstring, and without the templates of a bundle."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if "templates" in path.parts:
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if not name.endswith("__init__") or ast.parse(path.read_text("utf-8")).body[1:]:
            found[name.removesuffix(".__init__")] = path
    return {name: found[name] for name in sorted(found)}


def named_in(path: Path, known: Mapping[str, object]) -> set[str]:
    """The modules whose names stand in a file of Python."""
    text = path.read_text("utf-8")
    words = [*DOTTED.findall(text), *(f"kdtool.cli.{command}" for command in COMMAND.findall(text))]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            words += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name for word in words for name in _module_of(word, known)}


def _module_of(word: str, known: Mapping[str, object]) -> Iterator[str]:
    """The longest beginning of `word` that is a module; of a public name, the module that defines it."""
    parts = word.split(".")
    if len(parts) > 1 and parts[1] in kdtool._MODULES:
        parts = ["kdtool", *kdtool._MODULES[parts[1]].split(".")]
    names = (".".join(parts[:count]) for count in range(len(parts), 1, -1))
    yield from [name for name in names if name in known][:1]


def tests_of(known: Mapping[str, Path]) -> Tests:
    """Module → the test files that name it, those first that name the fewest modules."""
    files = {path.relative_to(TESTS).as_posix(): path for path in TESTS.rglob("test_*.py")}
    named = {file: named_in(path, known) for file, path in files.items() if file not in NO_TESTS}
    found = defaultdict(list)
    for file in sorted(named, key=lambda file: (len(named[file]), file)):
        for name in named[file]:
            found[name].append(file)
    return found


def importers_of(known: Mapping[str, Path]) -> Mapping[str, set[str]]:
    """Module → the modules of the package that name it."""
    found = defaultdict(set)
    for name, path in known.items():
        for other in named_in(path, known) - {name}:
            found[other].add(name)
    return found


def table() -> str:
    """Markdown: a section for each folder of the package."""
    known = modules()
    tests, importers = tests_of(known), importers_of(known)
    lines, section = [], ""
    for name in known:
        if name in ENTRY:
            continue
        short = name.removeprefix("kdtool.")
        folder = short.partition(".")[0]
        if folder != section:
            lines += ["", f"### {folder}", "", "| module | tests |", "|---|---|"]
            section = folder
        lines.append(f"| `{short}` | {_cell(name, tests, importers)} |")
    return "\n".join([*lines[1:], ""])


def _cell(name: str, tests: Tests, importers: Mapping[str, set[str]]) -> str:
    if name in tests:
        return _listed(tests[name], name)
    near, seen = {name}, {name}
    while near:  # a step further from the module each time, until somebody is tested
        near = {importer for module in near for importer in importers.get(module, ())} - seen
        seen |= near
        through = sorted(module for module in near if module in tests)
        if through:
            chosen = min(through, key=lambda module: (len(tests[module]), module))
            return f"through `{chosen.removeprefix('kdtool.')}`: {_listed(tests[chosen], name)}"
    return "none"


def _listed(files: list[str], name: str) -> str:
    """The first of them, before all those that are called like the module."""
    word = name.rpartition(".")[2]
    first = sorted(files, key=lambda file: word not in file)
    return ", ".join(first[:NAMED]) + (f" and {len(files) - NAMED} more" if len(files) > NAMED else "")


def with_table(readme: str) -> str:
    """`readme` with the table as it is now."""
    head, _, rest = readme.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8")), "utf-8")
