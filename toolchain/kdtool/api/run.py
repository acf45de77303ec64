"""Make and open runs: from photographs to a small model with its proof, in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kdtool.api.data import Data, open_data
from kdtool.api.model import Model, load
from kdtool.core.checks import whole_number
from kdtool.core.errors import GateError, UsageError
from kdtool.core.spelling import Caller, called_from
from kdtool.data.reader import DATA_FILE
from kdtool.machine.terminal import screen_of
from kdtool.results.bench import BenchResult, read_bench
from kdtool.results.claim import Verdict
from kdtool.runs.folder import RunFolder


@dataclass(frozen=True)
class Run:
    """The folder of a run with its content; `kdtool.run` makes a run, `kdtool.open_run` opens one.

    Attributes:
        path: the folder.
        failed: the error that explains why there is no INT8 model, if INT8 lost too much accuracy in
            `kdtool.run`; otherwise None.

    Example:
        run = kdtool.open_run("artifacts/paper")
        run.claim.verdict
        run.student.predict("cat.jpg")
    """

    path: Path
    failed: GateError | None = field(default=None, compare=False)

    @property
    def folder(self) -> RunFolder:
        """Paths of the files of the run."""
        return RunFolder(self.path)

    @property
    def bench(self) -> BenchResult:
        """Measurements of each model: accuracy, compute, size and latency.

        Raises:
            UsageError: the run was not measured.
        """
        return read_bench(self.folder.bench)

    @property
    def claim(self) -> Verdict:
        """Verdict on the claim of the recipe: PASS, FAIL or INCONCLUSIVE, with the values."""
        return self.bench.claim

    @property
    def report(self) -> Path:
        """Path of the report page.

        Raises:
            UsageError: the run has no report yet.
        """
        page = self.folder.report
        if not page.is_file():
            raise UsageError(
                f"{page}: this run has no report yet.", f"Write it with: kdtool report {self.path}"
            )
        return page

    @cached_property
    def data(self) -> Data:
        """The prepared photographs of the run.

        Raises:
            UsageError: the run has no prepared photographs.
            DataError: they are damaged.
        """
        place = self.path if self.folder.record.is_file() else self.folder.data
        if not (self.folder.data / DATA_FILE).is_file():
            raise UsageError(
                f"{self.path}: the run has no prepared photographs.", "Open some with: kdtool.open_data(DATA)"
            )
        return open_data(place)

    @cached_property
    def teacher(self) -> Model:
        """The teacher, in float32."""
        return self.model("teacher")

    @cached_property
    def student(self) -> Model:
        """The student, in float32."""
        return self.model("student")

    @called_from(Caller.FUNCTION)
    def model(self, role: str, precision: str = "fp32") -> Model:
        """Load an exported model of the run.

        Args:
            role: teacher, student or baseline.
            precision: fp32 or int8.

        Raises:
            ModelFileError: the run does not have the model.
        """
        return load(self.folder.onnx_model(role, precision))

    @called_from(Caller.FUNCTION)
    def bundle(
        self,
        role: str = "student",
        *,
        targets: str | Sequence[str] = (),
        photographs: int = 4,
        license: str | None = None,
        data_license: str | None = None,
        quiet: bool = False,
    ) -> Path:
        """Write the bundle for an app or a page, and verify it with its golden images.

        Args:
            role: teacher, student or baseline.
            targets: kinds of app that a model file must fit, such as "android" or "web".
            photographs: number of test photographs among the golden images, 0 to 50; 0 ships none.
            license, data_license: licenses of the model and of the photographs for the model card.
            quiet: print nothing on standard error.

        Returns:
            The folder bundle/ in the run; bundle.zip lies beside it.

        Raises:
            UsageError: an argument is wrong, the run has no such exported model, or a part is outdated.
            GateError: a model does not fit a target, or its logits for the golden images differ.
        """
        from kdtool.bundle.options import MOST_PHOTOGRAPHS, UNSTATED, Options
        from kdtool.bundle.page.runtime import find_runtime
        from kdtool.bundle.proof.verify import verify
        from kdtool.bundle.stage import write_bundle
        from kdtool.runs.comparison import require_run
        from kdtool.runs.lock import run_lock

        require_run(self.folder)
        licenses = license or UNSTATED, data_license or UNSTATED
        photographs = whole_number("photographs", photographs, 0, MOST_PHOTOGRAPHS)
        names = (targets,) if isinstance(targets, str) else tuple(targets)
        options, screen = Options(role, names, photographs, *licenses), screen_of(quiet)
        with run_lock(self.path):
            folder = write_bundle(self.folder, options, find_runtime(), screen)
        verify(folder, screen)
        return folder

    def __repr__(self) -> str:
        measured = repr(self.bench) if self.folder.bench.is_file() else "not measured yet"
        failed = f"\n  INT8 failed: {self.failed.message}" if self.failed else ""
        return f"Run({self.path}): {measured}{failed}"


@called_from(Caller.RUN)
def run(
    data: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    baseline: bool = False,
    seed: int | None = None,
    quiet: bool = False,
) -> Run:
    """Make a run with every stage, from photographs to a small model with its proof, as `kdtool run` does.

    Stages that are complete with the same inputs are skipped, so the same call continues a run that was
    stopped.

    Args:
        data: a folder of class folders, a manifest or the name of a data set; None is the photographs of the
            run at `out`, otherwise the embedded digits.
        recipe: one of `kdtool.list_recipes()` or a TOML file; None is the recipe of the run at `out`,
            otherwise paper, or digits without data.
        set: fields of the recipe to change, such as {"student.epochs": 30}.
        out: folder of the run; None is artifacts/<recipe>.
        baseline: also train the same student without the teacher.
        seed: seed of splits, weights and order, 0 to 2³² − 1; None is the seed of the run at `out`,
            otherwise 0.
        quiet: print nothing on standard error.

    Returns:
        The run. If INT8 loses too much accuracy, the run has no INT8 model, and `failed` says why.

    Raises:
        UsageError: an argument or a field of the recipe is wrong, or the run at `out` has other settings.
        DataError: the photographs are not fit for training.
        SetupError: a package is missing, or the disk or the network fails.
        GateError: training or export fails its check.

    Example:
        run = kdtool.run("photographs/", recipe="best", set={"student.epochs": 30}, baseline=True)
        run.claim.verdict, run.report
    """
    from kdtool.machine.packages import require_training

    require_training("run")
    from kdtool.pipeline import check, locked, run_all, start

    job = start(
        source=None if data is None else str(data),
        out=None if out is None else Path(out),
        recipe_name=None if recipe is None else str(recipe),
        overrides=_overrides(set or {}),
        seed=seed,
        screen=screen_of(quiet),
    )
    job = check(job, student=True)
    with locked(job):
        failed = run_all(job, baseline)
    return Run(job.run.path, failed)


@called_from(Caller.FUNCTION)
def open_run(path: str | Path) -> Run:
    """Open the run in a folder, which may have only exported models (onnx/student.onnx).

    Raises:
        UsageError: the folder is not a run.

    Example:
        kdtool.open_run("artifacts/paper").bundle()
    """
    folder = RunFolder(Path(path))
    if not folder.onnx.is_dir():
        folder.read_record()
    return Run(folder.path)


def _overrides(fields: Mapping[str, Any]) -> list[str]:
    """Write fields as `section.key=value`; text, numbers and lists look the same in JSON and TOML."""
    for name in fields:
        if not all(name.split(".")) or "." not in name:
            raise UsageError(
                f"set: {name!r} is not a field of a recipe; allowed: section.key.",
                'Example: set={"student.epochs": 10}',
            )
    return [f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields.items()]
