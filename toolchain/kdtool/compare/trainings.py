"""Training of all compared networks: for each seed the baselines, then the recipes."""

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
from kdtool.runs.stage import Manifest, read_manifest
from kdtool.train.probe import Probe, probe
from kdtool.train.stage import HISTORY, WEIGHTS
from kdtool.train.student import distill, train_baseline

STUDENT, BASELINE, PROBE = "student", "baseline", "probe"
CHECKPOINTS = "checkpoints"  # of a training's folder


@dataclass(frozen=True)
class Trained:
    """Result of one training, complete or failed.

    Attributes:
        role: student, baseline or probe.
        name: name of the recipe, `Entry.baseline` or `Entry.probe`.
        validation: validation accuracy of the best epoch, whose weights are kept.
        epochs: number of trained epochs.
        seconds: time of their training steps.
        failed: error message if the training failed; the figures are then None.
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
        """Key of the network, such as "student/kd/seed-0"; a probe is the same for all seeds."""
        if self.role == PROBE:
            return f"{self.role}/{self.name}"
        return f"{self.role}/{self.name}/seed-{self.seed}"

    @property
    def weights(self) -> Path:
        """File of the weights."""
        return self.folder / WEIGHTS


@dataclass(frozen=True)
class _PlannedTraining:
    role: str
    name: str
    seed: int
    folder: Path
    train: Callable[[], Manifest]

    @property
    def title(self) -> str:
        return f"{self.role} of {self.name}" if self.role == STUDENT else f"baseline {self.name}"


def train_all(
    job: Job, prepared: Prepared, entries: Sequence[Entry], seeds: Sequence[int]
) -> tuple[Trained, ...]:
    """Train all baselines and students; complete trainings are skipped, failed ones stop no other.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; the same command continues from there.
    """
    trainings = [training for seed in seeds for training in _trainings(job, prepared, entries, seed)]
    results = []
    for number, training in enumerate(trainings, 1):
        job.screen.say(f"[{number}/{len(trainings)}] {training.title}, seed {training.seed}")
        try:
            results.append(_result(training, training.train()))
        except GateError as error:
            job.screen.warn(f"{error.message}\nThe comparison continues without this network.")
            place = training.role, training.name, training.seed, training.folder
            results.append(Trained(*place, failed=error.message))
    return tuple(results)


def probes_of(job: Job, entries: Sequence[Entry]) -> tuple[Trained, ...]:
    """Find the linear probes that students started from."""
    found = {}
    for entry in entries:
        folder = probes_folder(job.run.path, entry.probe)
        manifest = read_manifest(folder / "manifest.json")
        if manifest is not None:
            accuracy, seconds = manifest.result["validation_accuracy"], manifest.result["seconds"]
            found[entry.probe] = Trained(
                PROBE, entry.probe, job.seed, folder, float(accuracy), seconds=float(seconds)
            )
    return tuple(found.values())


def students_folder(path: Path, name: str) -> Path:
    """Folder of the students of the recipe `name`; it has one folder for each seed."""
    return path / "students" / name


def baselines_folder(path: Path, name: str) -> Path:
    """Folder of the baseline `name` (`Entry.baseline`); it has one folder for each seed."""
    return path / "baselines" / name


def probes_folder(path: Path, name: str) -> Path:
    """Folder of the linear probe `name` (`Entry.probe`), which all seeds share."""
    return path / "probes" / name


def _trainings(
    job: Job, prepared: Prepared, entries: Sequence[Entry], seed: int
) -> Iterator[_PlannedTraining]:
    """List the trainings of one seed; all seeds share the views of the first, and so the soft labels."""
    path, screen = job.run.path, job.screen

    def start_of(entry: Entry) -> Probe | None:
        return probe(probes_folder(path, entry.probe), "student", prepared, entry.student, screen)

    for name, entry in baselines_of(entries).items():
        folder = baselines_folder(path, name) / f"seed-{seed}"
        train = partial(_train_baseline, folder, prepared, entry, seed, screen, job.seed, start_of)
        yield _PlannedTraining(BASELINE, name, seed, folder, train)
    for entry in entries:
        folder = students_folder(path, entry.name) / f"seed-{seed}"
        place = job.run.soft_labels / entry.soft_labels
        train = partial(_train_student, job, prepared, entry, seed, folder, place, start_of)
        yield _PlannedTraining(STUDENT, entry.name, seed, folder, train)


def _train_student(
    job: Job,
    prepared: Prepared,
    entry: Entry,
    seed: int,
    folder: Path,
    soft_labels: Path,
    start_of: Callable[[Entry], Probe | None],
) -> Manifest:
    place, start = (folder, soft_labels, job.seed), start_of(entry)
    return distill(job.run, prepared, entry.student, seed, job.screen, *place, start=start)


def _train_baseline(
    folder: Path,
    prepared: Prepared,
    entry: Entry,
    seed: int,
    screen: Screen,
    views_seed: int,
    start_of: Callable[[Entry], Probe | None],
) -> Manifest:
    """Train a baseline; start from the same baseline with fewer epochs, if there is one."""
    if not folder.exists():
        shorter = (folder.parents[1] / name / folder.name / CHECKPOINTS for name in entry.shorter_baselines)
        longest = next((checkpoints for checkpoints in shorter if checkpoints.is_dir()), None)
        for checkpoint in sorted(longest.glob("*.safetensors")) if longest else ():
            write_bytes(folder / CHECKPOINTS / checkpoint.name, checkpoint.read_bytes())
    settings, start = entry.baseline_student, start_of(entry)
    return train_baseline(folder, prepared, settings, seed, screen, views_seed=views_seed, start=start)


def _result(training: _PlannedTraining, manifest: Manifest) -> Trained:
    history = read_history(training.folder / HISTORY)
    return Trained(
        training.role,
        training.name,
        training.seed,
        training.folder,
        validation=float(manifest.result["validation_accuracy"]),
        best_epoch=int(manifest.result["best_epoch"]),
        epochs=len(history.epochs),
        seconds=sum(history.seconds),
    )
