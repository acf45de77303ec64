"""Turns the options of a command into the job that it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdtool.core.errors import UsageError

if TYPE_CHECKING:
    from kdtool.core.screen import Screen
    from kdtool.runs.record import Job


@dataclass(frozen=True)
class TrainingOptions:
    """Options of run, teach, distill and compare, by their names in `kdtool.cli.options`."""

    data: str | None
    out: Path | None
    recipe: str | None
    overrides: Sequence[str]
    seed: int | None
    teacher: str | None
    teacher_weights: str | None
    skip_bad: bool
    allow_leaks: bool
    dry_run: bool
    compile: bool = False
    cache: str | None = None
    precision: str | None = None
    student: str | None = None
    student_weights: str | None = None
    unlabelled: str | None = None
    views: int | None = None
    baseline: bool = False

    def as_overrides(self) -> list[str]:
        """Return --set and, after it, the fields that other options change; the later one wins.

        Raises:
            UsageError: a trained teacher is given together with weights to train one from.
        """
        if self.teacher_weights and _teacher_field(self.teacher) == "teacher.trained":
            raise UsageError(
                f"--teacher {self.teacher} is a trained teacher, so --teacher-weights would be ignored.",
                "Leave one out. To start from weights: --teacher ARCH --teacher-weights FILE",
            )
        precision = _fastest_precision() if self.precision == "auto" else self.precision
        fields: list[tuple[str, str | None]] = [
            (_teacher_field(self.teacher), self.teacher),
            ("teacher.weights", self.teacher_weights),
            ("student.arch", self.student),
            ("student.weights", self.student_weights),
            ("data.unlabelled", self.unlabelled),
            ("student.views", str(self.views) if self.views else None),
            ("teacher.precision", precision),
            ("student.precision", precision),
            ("teacher.compile", "true" if self.compile else None),
            ("student.compile", "true" if self.compile else None),
            ("data.skip_bad", "true" if self.skip_bad else None),
            ("data.cache", self.cache),
            ("data.allow_leaks", "true" if self.allow_leaks else None),
        ]
        return [*self.overrides, *(f"{field}={value}" for field, value in fields if value)]


def open_job(options: TrainingOptions, screen: Screen, student: bool, continue_newest: bool = False) -> Job:
    """Return the job that the options describe, after checking its networks and loss.

    Args:
        student: True if a student will be trained, not only a teacher.
        continue_newest: without DATA, --out and --recipe, continue the newest run and say which it is.
    """
    from kdtool.pipeline import check

    return check(_find_job(options, screen, continue_newest), student, download=not options.dry_run)


def _find_job(options: TrainingOptions, screen: Screen, continue_newest: bool) -> Job:
    from kdtool.pipeline import resume, start
    from kdtool.runs.folder import RunFolder, newest_run

    if continue_newest and options.out and not options.data:
        RunFolder(options.out).read_record()  # an error if --out is mistyped, instead of a run on the digits
    if continue_newest and not (options.data or options.out or options.recipe):
        try:
            run = newest_run()
        except UsageError:
            pass  # there is no run yet: start one on the digits
        else:
            screen.say(f"Continuing {run.path}.")
            return resume(run, options.as_overrides(), screen, options.seed)
    return start(options.data, options.out, options.recipe, options.as_overrides(), options.seed, screen)


@contextmanager
def open_run(run: Path | None, overrides: Sequence[str], screen: Screen) -> Iterator[Job]:
    """Lock the folder of a run, the newest if None, and yield its job."""
    from kdtool.pipeline import resume
    from kdtool.runs.folder import RunFolder, newest_run
    from kdtool.runs.lock import run_lock
    from kdtool.runs.record import record_settings

    folder = RunFolder(run) if run else newest_run()
    if run is None:
        screen.say(f"Newest run: {folder.path}.")
    folder.read_record()  # before the lock, which would create the folder
    with run_lock(folder.path):
        job = resume(folder, overrides, screen)
        record_settings(job)
        yield job


def _fastest_precision() -> str:
    from kdtool.train.loop.precision import fastest_precision

    return fastest_precision()


def _teacher_field(value: str | None) -> str:
    """Return the field that --teacher sets; a network's name wins over a file with the same name."""
    if value is None or not (value.endswith(".safetensors") or Path(value).is_file()):
        return "teacher.arch"
    from kdtool.arch import FAMILIES

    return "teacher.arch" if any(family.handles(value) for family in FAMILIES) else "teacher.trained"
