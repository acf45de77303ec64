"""What importing costs: help loads click alone, and the device's modules never load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.commands import ALL_COMMANDS

HEAVY = (
    "torch", "torchvision", "timm", "accelerate", "safetensors", "onnx", "onnxruntime", "numpy", "pydantic",
    "rich", "PIL", "jinja2", "matplotlib", "sklearn",
)  # fmt: skip
WORKSHOP = (
    "torch",
    "onnx",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors",
    "matplotlib",
    "sklearn",
    "imagehash",
)
DEVICE = (
    "kdtool.benchmark.loose",
    "kdtool.benchmark.stage",
    "kdtool.benchmark.tables.models",
    "kdtool.bundle.page.serve",
    "kdtool.bundle.stage",
    "kdtool.bundle.proof.verify",
    "kdtool.data.reader",
    "kdtool.report.stage",
    "kdtool.runtime.onnxruntime",
)


def loaded_after(code: str, modules: tuple[str, ...]) -> set[str]:
    """Which of `modules` a fresh interpreter has loaded after `code`; what `code` prints is dropped."""
    report = f"import sys\n{code}\nprint('LOADED', *(set({modules!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def help_of(arguments: list[str]) -> str:
    return f"from kdtool.cli import cli\ncli.main({[*arguments, '--help']!r}, standalone_mode=False)"


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_after("import numpy", HEAVY) == {"numpy"}


@pytest.mark.parametrize("arguments", [name.split()[1:] for name in ALL_COMMANDS], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(help_of(arguments), HEAVY) == set()


def test_importing_the_package_loads_nothing_but_itself() -> None:
    assert loaded_after("import kdtool; dir(kdtool); kdtool.__all__", ("click", *HEAVY)) == set()
    code = "import sys, kdtool; print(*(name for name in sys.modules if name.startswith('kdtool')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["kdtool"]


def test_the_public_face_loads_no_torch_before_it_is_called() -> None:
    assert loaded_after("import kdtool\nfor name in kdtool.__all__: getattr(kdtool, name)", WORKSHOP) == set()


@pytest.mark.parametrize("module", DEVICE)
def test_what_the_device_runs_loads_no_torch(module: str) -> None:
    assert loaded_after(f"import {module}", WORKSHOP) == set()
