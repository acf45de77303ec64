"""The notebooks in examples/: every cell runs, and none keeps an output. The script of docs/api.md runs too.

A cell is run as Jupyter would, in a process of its own for each notebook, without Jupyter.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.runs.onnxmodels import photographs
from kdtool.bundle.proof.verify import verify
from kdtool.core.screen import QUIET

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
RUNNER = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            print(f"cell {number}:", repr(shown))
"""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUNNER, str(notebook)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Prediction(" in done.stdout or "'blue'" in done.stdout
    assert list(tmp_path.rglob("bundle/SHA256SUMS"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_no_output(notebook: Path) -> None:
    content = json.loads(notebook.read_text("utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    for cell in content["cells"]:
        assert cell["id"]
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["own_networks", "photographs_to_bundle"]


def test_the_script_with_own_networks_ends_with_a_verified_bundle(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    script = page.split("With networks of your own:")[1].split("```python\n")[1].split("```")[0]
    assert len(re.findall(r"^.*\S", script, re.MULTILINE)) <= 20
    photographs(tmp_path / "photographs", {"train": 16, "validation": 8, "test": 8})
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert verify(tmp_path / done.stdout.splitlines()[-1], QUIET).images > 1
