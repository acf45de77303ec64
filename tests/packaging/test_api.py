"""docs/api.md names what is importable, with its signature and the first line of its docstring.

After a change: KDTOOL_WRITE_API=1 pytest tests/packaging/test_api.py
"""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
HEAD = """# The Python interface

Everything the commands do is a function of typed inputs and an output folder. These are the ones to build
on; the modules' docstrings say more. Written from the code by `tests/packaging/test_api.py`, which fails
when it is outdated.

A whole run, and its bundle:

```python
from pathlib import Path

from kdtool.bundle.options import Options
from kdtool.bundle.page.runtime import find_runtime
from kdtool.bundle.stage import write_bundle
from kdtool.core.screen import QUIET
from kdtool.pipeline import run_all, start

job = start("photographs", Path("artifacts/mine"), "paper", ["student.epochs=30"], seed=0, screen=QUIET)
result, report, failed = run_all(job, baseline=True)
folder = write_bundle(job.run, Options(), find_runtime(), QUIET)
```

Errors are those of `kdtool.core.errors`, each with its exit code, message and next command.
"""
SECTIONS = {
    "Runs": ("kdtool.pipeline:start", "kdtool.pipeline:resume", "kdtool.pipeline:run_all"),
    "Losses: (student_logits, teacher_logits, target, …) → scalar": (
        "kdtool.losses:kd_loss", "kdtool.losses:dkd_loss", "kdtool.losses:nkd_loss",
        "kdtool.losses:dist_loss", "kdtool.losses:deit_hard_loss", "kdtool.losses:deit_soft_loss",
    ),
    "Photographs": (
        "kdtool.core.preprocess:Preprocess", "kdtool.core.preprocess:decode", "kdtool.data.prepare:prepare",
        "kdtool.data.reader:open_prepared",
    ),
    "Models": ("kdtool.runtime:load_runtime", "kdtool.runtime.onnxruntime:open_model"),
    "Results": (
        "kdtool.results.bench:read_bench", "kdtool.results.predictions:read_predictions",
        "kdtool.results.statistics:wilson", "kdtool.report.stage:write_report",
    ),
    "Bundles": (
        "kdtool.bundle.stage:write_bundle", "kdtool.bundle.options:Options",
        "kdtool.bundle.proof.verify:verify",
    ),
}  # fmt: skip


def entry(name: str) -> str:
    module, attribute = name.split(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    first = (inspect.getdoc(found) or "").strip().split("\n")[0]
    assert first.strip(), f"{name} has no docstring"
    said = "" if first in ("Attributes:", "Args:") else f"\n{first}\n"
    return f"### `{module}.{attribute}`\n\n```python\n{attribute}{signature(found)}\n```\n{said}"


def signature(found: Any) -> str:
    own = inspect.signature(found)
    parameters = ", ".join(map(_parameter, own.parameters.values()))
    answer = own.return_annotation
    shown = "" if answer is inspect.Signature.empty or answer is None else f" -> {answer}".replace("'", "")
    return f"({parameters}){'' if inspect.isclass(found) else shown}"


def _parameter(parameter: inspect.Parameter) -> str:
    """A folder as default is that of the code, which is another on each machine."""
    if isinstance(parameter.default, Path):
        return f"{parameter.replace(default=inspect.Parameter.empty)} = its own".replace("'", "")
    return str(parameter).replace("'", "")


def test_the_reference_is_that_of_the_code() -> None:
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [entry(name) for name in names]
    page = "\n".join(parts)
    if os.environ.get("KDTOOL_WRITE_API"):
        PAGE.write_text(page, "utf-8")
    assert PAGE.read_text("utf-8") == page
