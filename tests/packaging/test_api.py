"""docs/api.md is written from `kdtool.__all__`: each name with its signature, its docstring and an example.

After a change: KDTOOL_WRITE_API=1 pytest tests/packaging/test_api.py
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import kdtool

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
HEAD = """# The Python interface

`import kdtool` offers what stands here, and loads what a name needs when the name is first used: a device
without torch can load models, predict and measure. Each function goes through the functions that the
commands use.

```python
import kdtool

run = kdtool.run("photographs/", recipe="best", baseline=True)
print(run.claim.verdict, run.report)
print(run.student.predict("cat.jpg", top=3))
run.bundle()
```

With networks of your own:

```python
import kdtool
import torch
from torch import nn
from torch.utils.data import DataLoader

data = kdtool.open_data("photographs", size=32)
train = DataLoader(data.torch("train"), batch_size=24, shuffle=True)
validation = DataLoader(data.torch("validation"), batch_size=24)


def network(width):
    body = nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(16 * width, len(data.classes)))


torch.manual_seed(0)
teacher = kdtool.distill(network(32), None, train, validation, epochs=5).student
student = kdtool.distill(network(8), teacher, train, validation, epochs=5, loss="dkd").student
about = {"classes": data.classes, "preprocess": data.preprocess, "images": "photographs/validation"}
file = kdtool.export(student, "own/onnx/student.onnx", **about)
kdtool.quantize(file, "photographs", max_drop=10)
kdtool.bench([file], "photographs", quick=True)
print(kdtool.open_run("own").bundle(license="CC0-1.0"))
```

A wrong argument is a `ValueError` that names the argument; every error that can be expected is a
`kdtool.KdtoolError`, with what is wrong in `message` and what to do next in `hint`; `kdtool.core.errors`
has the kinds. The losses are plain functions and modules of torch as well: `from kdtool.losses import
kd_loss`.

Two notebooks: [from photographs to a bundle](../examples/photographs_to_bundle.ipynb) and
[own networks](../examples/own_networks.ipynb). This page is written from the code by
`tests/packaging/test_api.py`, which fails when the page is outdated.
"""
SECTIONS = {
    "Runs": ("run", "open_run", "Run", "BenchResult", "list_recipes"),
    "Models": ("load", "Model", "Prediction", "Preprocess"),
    "Photographs": ("open_data", "Data"),
    "Distillation": ("distill", "Distilled", "create_loss", "list_losses"),
    "Networks and files from anywhere": ("export", "quantize", "Quantized", "bench"),
    "Errors": ("KdtoolError",),
}
CONSTRUCTED = ("Preprocess",)  # the classes that a caller makes; functions give the others
EXAMPLE = "Example"
HEADING = re.compile(r"(Args|Attributes|Returns|Raises|Example):$")
CONSUMER = """
from collections.abc import Iterator

import kdtool
import numpy as np
import torch
from torch.utils.data import DataLoader

run: kdtool.Run = kdtool.run("photographs", recipe="best", set={"student.epochs": 30}, baseline=True)
verdict: str | None = run.claim.verdict
model = kdtool.load("student.onnx")
labels: list[str] = [prediction.label for prediction in model.predict(["a.jpg", "b.jpg"])]
pairs: Iterator[tuple[str, float]] = iter(model.predict(b"bytes", top=2))
model.predict(np.zeros((2, 8, 8, 3), np.uint8))
for image, label in [kdtool.open_data("photographs").torch("train")[0]]:
    image.mean(), label + 1
after: float | None = kdtool.quantize("student.onnx", ["a.jpg"], target="web").accuracy_after
rows: int = len(kdtool.bench("student.onnx").models)
student = torch.nn.Linear(2, 2)
batches = [(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))]
made = kdtool.distill(student, None, batches, DataLoader(kdtool.open_data(None).torch("validation")), lr=0.1)
kdtool.distill(made.student, student, batches, batches, loss=kdtool.create_loss("dkd"), features="fitnet")
kdtool.distill(student, student, batches, batches, loss=lambda student, teacher, target: student.mean())
accuracies: tuple[float, float | None] = made.accuracy, made.teacher_accuracy
losses: list[float] = [row["train_loss"] for row in made.history]
kdtool.distill(student, "resnet18", batches, batches)  # error: arg-type
kdtool.distill(student, None, batches)  # error: call-arg
model.predict("a.jpg").lable  # error: attr-defined
kdtool.load(3)  # error: arg-type
kdtool.laod  # error: attr-defined
"""


def entry(name: str) -> str:
    found: Any = getattr(kdtool, name)
    documentation = inspect.getdoc(found)
    assert documentation, f"{name} has no docstring"
    parts = sections_of(documentation)
    assert EXAMPLE in parts, f"{name} has no example"
    made = inspect.isclass(found) and name not in CONSTRUCTED
    head = f"class {name}" if made else f"{name}{signature(found)}"
    lines = [f"### `kdtool.{name}`", "", "```python", head, "```", ""]
    lines += rendered({title: text for title, text in parts.items() if title != EXAMPLE})
    if inspect.isclass(found):
        lines += [f"- `{member}`: {said}" for member, said in members(found)] + [""]
    return "\n".join([*lines, "```python", parts[EXAMPLE], "```", ""])


def sections_of(documentation: str) -> dict[str, str]:
    """Heading → text, that under no heading as ""."""
    parts: dict[str, list[str]] = {"": []}
    title = ""
    for line in documentation.splitlines():
        match = HEADING.match(line)
        if match:
            title = match[1]
        parts.setdefault(title, []).extend([] if match else [line])
    return {title: textwrap.dedent("\n".join(lines)).strip() for title, lines in parts.items()}


def rendered(parts: dict[str, str]) -> Iterator[str]:
    """Paragraphs, and a list of what stands under a heading."""
    for title, text in parts.items():
        if not title:
            yield from ([text, ""] if text else [])
        elif title == "Returns":
            yield from (f"**Returns** {' '.join(text.split())}", "")
        else:
            yield from (f"**{title}**", "")
            for item in re.split(r"\n(?=\S)", text):
                names, _, said = item.partition(":")
                yield f"- `{names.strip()}`: {' '.join(said.split())}"
            yield ""


def members(kind: type) -> Iterator[tuple[str, str]]:
    """Public methods and properties, in the order of the code."""
    for name, member in vars(kind).items():
        if name.startswith("_") or (
            not isinstance(member, property | cached_property | classmethod)
            and not (inspect.isfunction(member))
        ):
            continue
        function: Any = getattr(member, "fget", None) or getattr(member, "func", None) or member
        called = inspect.isfunction(member) or isinstance(member, classmethod)
        documentation = inspect.getdoc(function)
        assert documentation, f"{kind.__name__}.{name} has no docstring"
        typed = signature(getattr(kind, name)) if called else f": {function.__annotations__['return']}"
        line = re.sub(r"\n *", " ", typed).replace("( ", "(").replace(", )", ")")
        yield f".{name}{line}", documentation.splitlines()[0]


def signature(found: Any) -> str:
    """As in the code; one parameter a line where they are many."""
    own = inspect.signature(found)
    parts = [shown(one) for one in own.parameters.values() if one.name != "self"]
    keyword = [one.kind is one.KEYWORD_ONLY for one in own.parameters.values() if one.name != "self"]
    if any(keyword):
        parts.insert(keyword.index(True), "*")
    answer = "" if inspect.isclass(found) else f" -> {own.return_annotation}"
    line = f"({', '.join(parts)}){answer}"
    return line if len(line) <= 90 else "(\n" + "".join(f"    {part},\n" for part in parts) + f"){answer}"


def shown(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}: {parameter.annotation}{default}"


def test_the_reference_is_that_of_the_code() -> None:
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [entry(name) for name in names]
    page = "\n".join(parts)
    if os.environ.get("KDTOOL_WRITE_API"):
        PAGE.write_text(page, "utf-8")
    assert PAGE.read_text("utf-8") == page


def test_the_public_names_are_these() -> None:
    assert sorted(kdtool.__all__) == sorted(name for names in SECTIONS.values() for name in names)
    assert set(kdtool.__all__) <= set(dir(kdtool))
    assert sorted(kdtool._MODULES) == sorted(kdtool.__all__)
    source = Path(kdtool.__file__).read_text("utf-8")
    for name, module in kdtool._MODULES.items():
        assert re.search(rf"^    from kdtool\.{module} import .*\b{name}\b", source, re.M), name
    assert len(re.findall(r"^    from kdtool\.\S+ import (.+)$", source, re.M)) == len(
        set(kdtool._MODULES.values())
    )
    with pytest.raises(AttributeError, match="module 'kdtool' has no attribute 'laod'"):
        kdtool.laod  # noqa: B018  # the access is the test


@pytest.mark.parametrize("name", kdtool.__all__)
def test_an_example_is_python(name: str) -> None:
    example = sections_of(inspect.getdoc(getattr(kdtool, name)) or "")[EXAMPLE]
    compile(example, name, "exec")
    for used in re.findall(r"kdtool\.(\w+)", example):
        assert used in kdtool.__all__


def test_a_type_checker_knows_the_public_names(tmp_path: Path) -> None:
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    found = re.findall(r"consumer\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    lines = CONSUMER.splitlines()
    expected = [(str(n), line.split("error: ")[1]) for n, line in enumerate(lines, 1) if "# error" in line]
    assert found == expected, done.stdout + done.stderr
