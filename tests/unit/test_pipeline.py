"""Which changes a run accepts, and which job the options describe."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.core.errors import UsageError
from kdtool.core.run import RunFolder, newest_run
from kdtool.core.screen import QUIET
from kdtool.pipeline import Job, resume, start


def record(job: Job, *begun: str) -> None:
    """As if the run had come as far as training `begun`."""
    job.run.write_record(
        {"recipe": job.recipe.to_json(), "seed": job.seed, "source": job.source, "classes": []}
    )
    for role in begun:
        job.run.role(role).mkdir()


def test_digits_are_the_default_with_their_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = start(None, None, None, (), None, QUIET)
    assert (job.source, job.recipe.name, job.seed, str(job.run.path)) == (
        "digits",
        "digits",
        0,
        "artifacts/digits",
    )
    job = start("photographs", None, None, (), 3, QUIET)
    assert (job.source, job.recipe.name, job.seed, str(job.run.path)) == (
        "photographs",
        "paper",
        3,
        "artifacts/paper",
    )


def test_a_run_remembers_its_photographs_and_seed(tmp_path: Path) -> None:
    record(start(str(tmp_path), tmp_path / "run", None, (), 7, QUIET))
    again = start(None, tmp_path / "run", "paper", (), None, QUIET)
    assert (again.source, again.seed) == (str(tmp_path), 7)


def test_a_run_remembers_its_recipe(tmp_path: Path) -> None:
    record(start(None, tmp_path / "run", "paper", ["student.epochs=5"], None, QUIET), "teacher", "student")
    again = start(None, tmp_path / "run", None, ["bench.runs=70"], None, QUIET)
    assert (again.recipe.name, again.recipe.student.epochs, again.recipe.bench.runs) == ("paper", 5, 70)


def test_other_photographs_want_another_folder(tmp_path: Path) -> None:
    record(start("digits", tmp_path / "run", "paper", (), None, QUIET), "teacher")
    with pytest.raises(UsageError, match=r"photographs: 'digits' in the run, .* asked for"):
        start(str(tmp_path), tmp_path / "run", None, (), None, QUIET)


@pytest.mark.parametrize(
    "begun, change, refused",
    [
        ((), "teacher.lr=0.5", False),
        (("teacher",), "teacher.lr=0.5", True),
        (("teacher",), "student.lr=0.5", False),
        (("teacher", "student"), "student.lr=0.5", True),
        (("baseline",), "student.loss.temperature=2.0", True),
        (("teacher",), "data.size=96", True),
        (("teacher",), "teacher.epochs=50", False),
        (("teacher",), "teacher.epochs=5", True),
        (("teacher", "student"), "quantize.max_drop=5.0", False),
        (("teacher", "student"), "bench.runs=200", False),
    ],
)
def test_what_may_change_in_a_run(tmp_path: Path, begun: tuple[str, ...], change: str, refused: bool) -> None:
    record(start(None, tmp_path / "run", "paper", (), None, QUIET), *begun)
    if not refused:
        start(None, tmp_path / "run", "paper", [change], None, QUIET)
        return
    key = change.partition("=")[0]
    with pytest.raises(UsageError, match=rf"trained otherwise.\n  {key}: .* in the run, .* asked for"):
        start(None, tmp_path / "run", "paper", [change], None, QUIET)
    with pytest.raises(UsageError, match="trained otherwise"):
        resume(RunFolder(tmp_path / "run"), [change], QUIET)


def test_another_seed_wants_another_folder(tmp_path: Path) -> None:
    record(start(None, tmp_path / "run", "paper", (), 1, QUIET), "teacher")
    with pytest.raises(UsageError, match=r"seed: 1 in the run, 2 asked for"):
        start(None, tmp_path / "run", "paper", (), 2, QUIET)


def test_no_run_and_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No run under"):
        newest_run(tmp_path)
    with pytest.raises(UsageError, match=r"is not a run: it has no run\.json"):
        RunFolder(tmp_path).read_record()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path).read_record()
