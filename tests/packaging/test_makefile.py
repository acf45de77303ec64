"""What the Makefile would do, from its dry run; nothing is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = "https://index.invalid/cpu"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "package.json"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make, not as a child of the make that may run these tests."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    outside |= {"PYTHON": "python3", "VENV": ".venv", "TORCH_INDEX": ""}
    return subprocess.run(
        ["make", *arguments], capture_output=True, text=True, cwd=folder, env=outside, timeout=30
    )


def test_without_a_target_make_explains_itself(folder: Path) -> None:
    said = make(folder).stdout
    for word in ("make demo", "make test", "make quick", "make mutants", "TORCH_INDEX"):
        assert word in said
    assert not (folder / ".venv").exists()


def test_the_demo_installs_no_test_tools(folder: Path) -> None:
    planned = make(folder, "--dry-run", "demo").stdout
    assert ".venv/bin/kdtool run" in planned
    assert ". .venv/bin/activate" in planned  # the run ends with the next command, which must be found
    assert "--editable '.[train]'" in planned
    assert "--group test" not in planned
    assert "npm" not in planned
    assert "--index-url" not in planned


def test_torch_comes_from_the_index_that_is_named(folder: Path) -> None:
    planned = make(folder, "--dry-run", "demo", f"TORCH_INDEX={INDEX}").stdout.splitlines()
    (torch,) = [line for line in planned if INDEX in line]
    assert "--no-deps" in torch
    rest = next(index for index, line in enumerate(planned) if "--editable" in line)
    assert planned.index(torch) < rest  # what is there is not fetched again


def test_every_target_is_explained(folder: Path) -> None:
    said = make(folder).stdout
    (targets,) = [
        line for line in (folder / "Makefile").read_text().splitlines() if line.startswith(".PHONY")
    ]
    for target in set(targets.split()[1:]) - {"help"}:
        assert re.search(rf"\bmake (\S+, )*{target}\b|, {target}\b", said), target


def test_the_quick_target_leaves_out_what_takes_long(folder: Path) -> None:
    planned = make(folder, "--dry-run", "quick").stdout
    for part in ("ruff check", "bin/mypy", "pytest -n 2", "-m 'not train and not browser and not slow'"):
        assert part in planned


def test_mutants_are_as_many_at_a_time_as_there_are_jobs(folder: Path) -> None:
    planned = make(folder, "--dry-run", "mutants", "JOBS=3", "ONLY=losses").stdout
    assert "-m campaigns.mutants --jobs 3 --only 'losses'\n" in planned
    assert (ROOT / "tests" / "campaigns" / "mutants.py").is_file()


def test_the_test_target_checks_and_tests(folder: Path) -> None:
    planned = make(folder, "--dry-run", "test").stdout
    for tool in ("--group test", "ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"):
        assert tool in planned


@pytest.mark.parametrize(
    "target, module",
    [
        ("kill-campaign", "kill"),
        ("io-faults", "io_faults"),
        ("cache-edits", "cache_edits"),
        ("interval-coverage", "coverage"),
    ],
)
def test_a_campaign_is_as_long_as_asked(folder: Path, target: str, module: str) -> None:
    assert f"-m campaigns.{module} --rounds 7\n" in make(folder, "--dry-run", target, "ROUNDS=7").stdout
    assert "--rounds" not in make(folder, "--dry-run", target, "ROUNDS=").stdout
    assert (ROOT / "tests" / "campaigns" / f"{module}.py").is_file()


def test_tests_bring_the_pages_runtime_and_its_browser(folder: Path) -> None:
    planned = make(folder, "--dry-run", "setup-test").stdout
    assert "npm install --prefix .venv --omit=dev" in planned
    assert "apt-get install -y -qq chromium" in planned
    assert "chromium" not in make(folder, "--dry-run", "web").stdout


def test_what_is_installed_is_not_installed_again(folder: Path) -> None:
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".installed-train").touch()
    assert "Nothing to be done" in make(folder, "--dry-run", "setup").stdout
    os.utime(folder / ".venv" / ".installed-train", (0, 0))  # older than pyproject.toml
    assert "--editable" in make(folder, "--dry-run", "setup").stdout


@pytest.mark.parametrize("target", ["demo", "test"])
def test_an_old_python_is_refused_before_anything_is_installed(folder: Path, target: str) -> None:
    old = folder / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(folder, target, f"PYTHON={old}")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert f"make PYTHON=python3.12 {target}" in done.stderr
    assert not (folder / ".venv").exists()


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make test"
