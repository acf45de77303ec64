"""A linear probe of a network on photographs, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdtool.arch.network import build, load_network, read_info
from kdtool.core.errors import UsageError
from kdtool.core.screen import Screen
from kdtool.core.spelling import argument
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import SCRATCH
from kdtool.recipe.files import override_recipe
from kdtool.recipe.settings import DataSettings, Recipe, StudentSettings
from kdtool.results.classes import Answers
from kdtool.results.figures import interval, percent
from kdtool.results.statistics.accuracy import wilson
from kdtool.results.statistics.estimate import Interval
from kdtool.runs.folder import ARTIFACTS, RunFolder
from kdtool.runs.lock import run_lock
from kdtool.train.loop.evaluate import predict
from kdtool.train.probe import probe
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import plain_examples

SCHEMA = 1


@dataclass(frozen=True)
class Figures:
    """Figures of a probe on one split, in [0, 1], with 95 % intervals."""

    split: str
    images: int
    accuracy: float
    accuracy_ci: Interval
    balanced_accuracy: float
    balanced_accuracy_ci: Interval
    macro_f1: float
    macro_f1_ci: Interval

    @classmethod
    def of(cls, split: str, answers: Answers) -> Figures:
        """Compute the figures of the answers to a split."""
        tally = answers.tally
        return cls(
            split,
            tally.images,
            tally.accuracy,
            wilson(int(tally.right.sum()), tally.images),
            tally.balanced_accuracy,
            answers.interval("balanced_accuracy"),
            tally.macro_f1,
            answers.interval("macro_f1"),
        )

    def __str__(self) -> str:
        return (
            f"{self.split}: {percent(self.accuracy, 2)} of {self.images:,} images right "
            f"({interval(self.accuracy_ci)}), balanced {percent(self.balanced_accuracy)}, "
            f"macro-F1 {percent(self.macro_f1)}"
        )


@dataclass(frozen=True)
class Probed:
    """A linear probe and its figures.

    Attributes:
        file: the network with its fitted head, a model.safetensors.
        c: inverse regularization that validation chose.
        features, params: number of features, and of parameters of the network.
        seconds: time to compute the features and to fit.
        fault: what makes the probe useless; None if nothing does.
    """

    data: str
    network: str
    weights: str
    size: int
    classes: tuple[str, ...]
    file: Path
    c: float
    features: int
    params: int
    seconds: float
    fault: str | None
    validation: Figures
    test: Figures | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for --json."""
        return {"schema": SCHEMA, **asdict(self), "file": str(self.file)}


def probe_network(
    data: str,
    network: str,
    weights: str,
    size: int,
    out: Path | None,
    seed: int,
    overrides: Sequence[str],
    screen: Screen,
    *,
    test: bool = False,
) -> Probed:
    """Fit the linear probe of a network to the photographs of DATA.

    Args:
        overrides: changes of fields of [data], as `data.key=value`.
        test: also evaluate the probe on the test split.

    Raises:
        UsageError: the network does not exist, has no single linear layer as its head or starts from
            scratch, or an override is wrong.
        DataError: the photographs are not fit for training.
        SetupError, ModelFileError: the weights cannot be had, or do not fit.
    """
    if weights == SCRATCH:
        raise UsageError(
            f"{argument('weights')} is none: the features of a random network say nothing.",
            "Give imagenet, or a file of weights.",
        )
    strange = [part for part in overrides if not part.startswith("data.")]
    if strange:
        raise UsageError(
            f"--set {strange[0]}: allowed are fields of [data].", "Example: --set data.resize=256"
        )
    student = StudentSettings(arch=network, weights=weights)
    recipe = override_recipe(Recipe(name="probe", data=DataSettings(size=size), student=student), overrides)
    build(network, 2, recipe.data.size)  # before any photograph is decoded
    folder = RunFolder(out or ARTIFACTS / f"probe-{network.replace('/', '-')}")
    with run_lock(folder.path):
        prepared, _ = prepare(data, recipe.data, seed, folder.data, screen)
        prepared = replace(prepared, balance=recipe.data.balance)
        found = probe(folder.role("probe"), "student", prepared, recipe.student, screen)
    if found is None:
        raise UsageError(
            f"{network} has no single linear layer as its head, so it has no linear probe.",
            "Choose another network: kdtool probe --help",
        )
    result = found.manifest.result
    splits = ("validation", "test") if test else ("validation",)
    figures = {split: _figures(found.file, prepared, split) for split in splits}
    return Probed(
        data=data,
        network=network,
        weights=weights,
        size=recipe.data.size,
        classes=prepared.classes,
        file=found.file,
        c=float(result["c"]),
        features=int(result["features"]),
        params=int(read_info(found.file).params or 0),
        seconds=float(result["seconds"]),
        fault=result.get("fault"),
        validation=figures["validation"],
        test=figures.get("test"),
    )


def _figures(file: Path, prepared: Prepared, split: str) -> Figures:
    """Evaluate the network in `file` on a split."""
    network, info = load_network(file)
    device = processes().device
    logits = predict(network.to(device), plain_examples(prepared, split, info.preprocess), device)
    labels = prepared.split(split).labels
    return Figures.of(split, Answers(labels, logits.argmax(1), len(prepared.classes)))
