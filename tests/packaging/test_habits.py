"""The files of a well-kept project are true: commands that exist, one version, the same checks everywhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdtool import __version__

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / ".pre-commit-config.yaml"
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TOOLS = {"ruff", "mypy", "pytest", "lint-imports"}


def steps(job: str) -> list[str]:
    """The commands of a job of the hosted CI."""
    content: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return [step["run"] for step in content["jobs"][job]["steps"] if "run" in step]


def commands_of_quick(tmp_path: Path) -> list[list[str]]:
    """The tools that `make quick` calls, with their arguments; nothing is run or installed."""
    for name in ("Makefile", "pyproject.toml", "package.json"):
        shutil.copy(ROOT / name, tmp_path)
    planned = subprocess.run(
        ["make", "--dry-run", "quick", "VENV=.venv", "PYTHON=python3", "JOBS=2"],
        capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout=30, check=True,
    ).stdout  # fmt: skip
    called = re.findall(rf"^.*\.venv/bin/((?:{'|'.join(TOOLS)})(?: .*)?)$", planned, re.MULTILINE)
    return [shlex.split(line) for line in called]


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", ".github/pull_request_template.md", "docs/architecture.md"]
)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert named
    assert set(named) <= targets


def test_hosted_ci_does_what_make_quick_does(tmp_path: Path) -> None:
    wanted = commands_of_quick(tmp_path)
    assert {words[0] for words in wanted} >= {"ruff", "mypy", "pytest"}
    assert [shlex.split(step) for step in steps("quick") if shlex.split(step)[0] in TOOLS] == wanted


def test_hosted_ci_runs_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [found[1] for line in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)", line))]
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    assert [jobs[job]["strategy"]["matrix"]["python"] for job in ("quick", "test")] == [named, named]
    assert steps("test")[-1] == "make test"


def test_hooks_download_nothing() -> None:
    (repository,) = yaml.safe_load(HOOKS.read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert {shlex.split(hook["entry"])[0] for hook in repository["hooks"]} <= TOOLS


def test_the_citation_has_the_version_of_the_package() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == __version__


def test_the_glossary_has_each_word_once() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Glossary")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    words = [word for row in rows[2:] for word in re.split(r", | \(|\)", row[0]) if word]
    assert len(words) == len(set(words)) > 30
