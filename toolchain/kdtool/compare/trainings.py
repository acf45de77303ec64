"""Training all that is compared: for each seed the baselines, then the recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdtool.compare.entries import Entry, baselines_of
from kdtool.core.errors import GateError
from kdtool.core.files import write_bytes
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.results.history import read_history
from kdtool.runs.record import Job
from kdtool.runs.stage import Manifest
from kdtool.train.stage import HISTORY, WEIGHTS
from kdtool.train.student import distill, train_baseline

STUDENT, BASELINE = "student", "baseline"
CHECKPOINTS = "checkpoints"  # of a training's folder


@dataclass(frozen=True)
class Trained:
    """One training that is complete, or the gate it failed.

    Attributes:
        role: student or baseline; name: the recipe's, or `Entry.baseline`.
        validation: accuracy of the best epoch, which is the one kept.
        epochs: that were trained; seconds: that their steps took.
        failed: why there is no network; the figures are then None.
    """

    role: str
    name: str
    seed: int
    folder: Path
    validation: float | None = None
    best_epoch: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    failed: str | None = None

    @property
    def key(self) -> str:
        return f"{self.role}/{self.name}/seed-{self.seed}"

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


@dataclass(frozen=True)
class _Task:
    role: str
    name: str
    seed: int
    folder: Path
    train: Callable[[], Manifest]


def train_all(
    job: Job, prepared: Prepared, entries: Sequence[Entry], seeds: Sequence[int]
) -> tuple[Trained, ...]:
    """Every baseline and student; what is complete is skipped, what fails a gate does not cost the others.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; the same command goes on from there.
    """
    tasks = [task for seed in seeds for task in _tasks(job, prepared, entries, seed)]
    done = []
    for number, task in enumerate(tasks, 1):
        shown = f"{task.role} of {task.name}" if task.role == STUDENT else f"baseline {task.name}"
        job.screen.say(f"[{number}/{len(tasks)}] {shown}, seed {task.seed}")
        try:
            done.append(_complete(task, task.train()))
        except GateError as error:
            job.screen.warn(f"{error.message}\nThe comparison goes on without it.")
            done.append(Trained(task.role, task.name, task.seed, task.folder, failed=error.message))
    return tuple(done)


def students_folder(path: Path, name: str) -> Path:
    """Of the recipe `name`, a folder a seed in it."""
    return path / "students" / name


def baselines_folder(path: Path, name: str) -> Path:
    """Of `Entry.baseline`, a folder a seed in it."""
    return path / "baselines" / name


def _tasks(job: Job, prepared: Prepared, entries: Sequence[Entry], seed: int) -> Iterator[_Task]:
    """All seeds see the views of the first, so that soft labels are computed once."""
    path, screen = job.run.path, job.screen
    for name, entry in baselines_of(entries).items():
        folder = baselines_folder(path, name) / f"seed-{seed}"
        train = partial(_train_baseline, folder, prepared, entry, seed, screen, job.seed)
        yield _Task(BASELINE, name, seed, folder, train)
    for entry in entries:
        folder = students_folder(path, entry.name) / f"seed-{seed}"
        place = job.run.soft_labels / entry.soft_labels
        learn = partial(distill, job.run, prepared, entry.student, seed, screen, folder, place, job.seed)
        yield _Task(STUDENT, entry.name, seed, folder, learn)


def _train_baseline(
    folder: Path, prepared: Prepared, entry: Entry, seed: int, screen: Screen, views_seed: int
) -> Manifest:
    """Train it, from where the same baseline of fewer epochs ends, if there is one."""
    if not folder.exists():
        shorter = (folder.parents[1] / name / folder.name / CHECKPOINTS for name in entry.shorter_baselines)
        longest = next((checkpoints for checkpoints in shorter if checkpoints.is_dir()), None)
        for checkpoint in sorted(longest.glob("*.safetensors")) if longest else ():
            write_bytes(folder / CHECKPOINTS / checkpoint.name, checkpoint.read_bytes())
    return train_baseline(folder, prepared, entry.alone, seed, screen, views_seed=views_seed)


def _complete(task: _Task, manifest: Manifest) -> Trained:
    history = read_history(task.folder / HISTORY)
    return Trained(
        task.role,
        task.name,
        task.seed,
        task.folder,
        validation=float(manifest.result["validation_accuracy"]),
        best_epoch=int(manifest.result["best_epoch"]),
        epochs=len(history.epochs),
        seconds=sum(history.seconds),
    )
