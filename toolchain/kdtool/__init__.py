"""kdtool: from a folder of photographs to a small, proven image classifier.

    run = kdtool.run("photographs/", recipe="best", baseline=True)
    run.claim.verdict, run.report
    run.student.predict("cat.jpg", top=3)

A name of `__all__` is imported on its first use, so that `import kdtool` loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdtool.api.bench import bench
    from kdtool.api.data import Data, open_data
    from kdtool.api.distill import Distilled, distill
    from kdtool.api.export import export
    from kdtool.api.losses import create_loss, list_losses
    from kdtool.api.model import Model, Prediction, load
    from kdtool.api.quantize import Quantized, quantize
    from kdtool.api.recipes import list_recipes
    from kdtool.api.run import Run, open_run, run
    from kdtool.core.errors import KdtoolError
    from kdtool.core.preprocess import Preprocess
    from kdtool.results.bench import BenchResult

__version__ = "0.1.0"

__all__ = [
    "BenchResult", "Data", "Distilled", "KdtoolError", "Model", "Prediction", "Preprocess", "Quantized",
    "Run", "bench", "create_loss", "distill", "export", "list_losses", "list_recipes", "load", "open_data",
    "open_run", "quantize", "run",
]  # fmt: skip

_MODULES = {
    "BenchResult": "results.bench",
    "Data": "api.data",
    "Distilled": "api.distill",
    "KdtoolError": "core.errors",
    "Model": "api.model",
    "Prediction": "api.model",
    "Preprocess": "core.preprocess",
    "Quantized": "api.quantize",
    "Run": "api.run",
    "bench": "api.bench",
    "create_loss": "api.losses",
    "distill": "api.distill",
    "export": "api.export",
    "list_losses": "api.losses",
    "list_recipes": "api.recipes",
    "load": "api.model",
    "open_data": "api.data",
    "open_run": "api.run",
    "quantize": "api.quantize",
    "run": "api.run",
}

if not TYPE_CHECKING:  # a type checker reads the imports above and must reject every other name

    def __getattr__(name: str) -> Any:
        """Import a public name on its first use (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module 'kdtool' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"kdtool.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
