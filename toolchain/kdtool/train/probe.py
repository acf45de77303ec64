"""Linear probe: a linear classifier on the features of a frozen network, which starts from weights.

    logits = W f(x) + b        f(x): input of the network's last linear layer

W and b minimize the cross-entropy over the training images plus ‖W‖² / (2 C), a multinomial logistic
regression (scikit-learn); validation chooses C. The probe takes one pass over the images. It is the head that
training starts from (LP-FT: Kumar et al. 2022, arXiv:2202.10054, since a head from zero first spoils good
features), and the bar that the trained network has to pass.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kdtool.arch.network import (
    build,
    classifier_of,
    load_network,
    parameter_count,
    save_network,
)
from kdtool.arch.smallmaps import speed_up_small_maps
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.recipe.choices import SCRATCH, Balance, Selection, Trained
from kdtool.recipe.settings import NetworkSettings, section_of
from kdtool.results.classes import Tally
from kdtool.results.health import fault_of
from kdtool.runs.stage import Manifest, Stage
from kdtool.train.loop.evaluate import predict
from kdtool.train.settings import network_preprocess, weights_input
from kdtool.train.stored import write_features
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Examples, plain_examples

STAGE, WEIGHTS = "probe", "model.safetensors"
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0)  # C, for standardized features
ITERATIONS, TOLERANCE = 300, 1e-3
LEAST_DEVIATION = 1e-6  # of a feature; a dead feature is not divided by 0

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """A fitted probe.

    Attributes:
        weight, bias: (K, D) and (K), for features as the network computes them.
        c: the C that was chosen.
        accuracies: C → validation accuracy, in [0, 1].
    """

    weight: Floats
    bias: Floats
    c: float
    accuracies: Mapping[float, float]


@dataclass(frozen=True)
class Probe:
    """The probe of a network, in a file that other stages read."""

    file: Path
    manifest: Manifest

    @property
    def accuracy(self) -> float:
        """Validation accuracy, in [0, 1]."""
        return float(self.manifest.result["validation_accuracy"])

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return self.manifest.files[WEIGHTS]


def probe(
    folder: Path, role: str, prepared: Prepared, settings: NetworkSettings, screen: Screen
) -> Probe | None:
    """Fit the probe of a network that starts from weights into `folder`; skipped if it is complete.

    Args:
        role: teacher or student, whose weights `settings` name.

    Returns:
        The probe; None if the network starts from scratch, or has no single linear layer as its head.
    """
    if settings.weights == SCRATCH:
        return None
    group = processes()
    inputs: dict[str, Any] = {
        "arch": settings.arch,
        "weights": weights_input(settings.weights),
        "data": prepared.digest,
    }
    if prepared.balance is not Balance.NONE:
        inputs["balance"] = "classes"
    if settings.selection is Selection.BALANCED_ACCURACY:
        inputs["selection"] = settings.selection.value
    stage = Stage(STAGE, folder, inputs)
    manifest = group.once(stage.complete)
    if manifest is not None:
        screen.say(f"{role}: linear probe complete, skipped ({_said(settings.arch, manifest.result)}).")
        return Probe(folder / WEIGHTS, manifest)
    started = time.monotonic()
    torch.set_num_threads(usable_threads())
    preprocess = network_preprocess(prepared, settings)
    classes = len(prepared.classes)
    network = build(settings.arch, classes, preprocess.size, settings.weights, section_of(role))
    name = classifier_of(network, settings.arch, classes, preprocess.size)
    if name is None:
        screen.say(
            f"{role}: {settings.arch} has no single linear layer as its head, so there is no linear probe; "
            "the head starts at zero."
        )
        return None
    head: Any = network.get_submodule(name)
    examples = {split: plain_examples(prepared, split, preprocess) for split in ("train", "validation")}
    speed_up_small_maps(network)
    x = {split: features(network, name, part) for split, part in examples.items()}
    y = {split: prepared.split(split).labels for split in examples}

    def fitted() -> Manifest:
        weighted = prepared.balance is not Balance.NONE
        by_class = settings.selection is Selection.BALANCED_ACCURACY
        fit = fit_probe(x["train"], y["train"], x["validation"], y["validation"], weighted, by_class)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(fit.weight))
            if head.bias is not None:
                head.bias.copy_(torch.from_numpy(fit.bias))
        info = ModelInfo(
            "probe", settings.arch, prepared.classes, preprocess, params=parameter_count(network)
        )
        stage.reopen()
        save_network(folder / WEIGHTS, network.state_dict(), info)
        files = [WEIGHTS]
        if role == "teacher" and settings.train is Trained.HEAD:
            files.append(write_features(folder, x, prepared))
        predicted = (x["validation"] @ fit.weight.T + fit.bias).argmax(1)
        fault = fault_of(Tally.of(y["validation"], predicted, classes), prepared.classes)
        result: dict[str, Any] = {
            "arch": settings.arch,
            "validation_accuracy": fit.accuracies[fit.c],
            "c": fit.c,
            "features": head.in_features,
            "seconds": round(time.monotonic() - started, 1),
        }
        result |= {"fault": fault} if fault else {}
        return stage.seal(files, result, versions_of())

    manifest = group.once(fitted)
    screen.say(f"{role}: linear probe, {_said(settings.arch, manifest.result)}.")
    return Probe(folder / WEIGHTS, manifest)


def features(network: nn.Module, head: str, examples: Examples, epoch: int | None = None) -> Floats:
    """Compute the features (N, D): the input of the linear layer `head`, in eval mode.

    Args:
        epoch: epoch whose view is used; None for images without augmentation.
    """
    device = processes().device
    classifier: Any = network.get_submodule(head)
    network.set_submodule(head, nn.Identity())
    try:
        on_device = network.to(device).to(memory_format=torch.channels_last)
        wide = Examples(
            examples.split, classifier.in_features, examples.preprocess, examples.augment, examples.views
        )
        return predict(on_device, wide, device) if epoch is None else predict(on_device, wide, device, epoch)
    finally:
        network.set_submodule(head, classifier)
        network.cpu()


def fit_probe(
    x: Floats,
    y: Labels,
    x_validation: Floats,
    y_validation: Labels,
    weighted: bool = False,
    by_class: bool = False,
) -> Fit:
    """Fit a multinomial logistic regression for each C of `GRID`, and keep the one best on validation.

    Of equal ones the smallest C is kept. The features are standardized for the fit; W and b are for the
    features as they are: W = V / σ, b = a − V (μ / σ).

    Args:
        x, x_validation: features (N, D).
        y, y_validation: classes (N); every class occurs in `y`.
        weighted: every class has the same weight in the fit.
        by_class: choose C by balanced accuracy instead of accuracy.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(0), np.maximum(x.std(0), LEAST_DEVIATION)
    standardized, validation = (x - mean) / deviation, (x_validation - mean) / deviation
    model = LogisticRegression(
        max_iter=ITERATIONS,
        tol=TOLERANCE,
        warm_start=True,
        class_weight="balanced" if weighted else None,
    )
    scores: dict[float, float] = {}
    accuracies: dict[float, float] = {}
    best: tuple[float, Floats, Floats] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits do not matter for a start
        for c in GRID:
            model.set_params(C=c).fit(standardized, y)
            tally = Tally.of(y_validation, model.predict(validation), int(y.max()) + 1)
            accuracies[c] = tally.accuracy
            scores[c] = tally.balanced_accuracy if by_class else tally.accuracy
            if best is None or scores[c] > scores[best[0]]:
                best = c, *_rows(model.coef_, model.intercept_)
    assert best is not None, "the grid is not empty"
    c, weight, bias = best
    scaled = weight / deviation
    return Fit(scaled.astype(np.float32), (bias - scaled @ mean).astype(np.float32), c, accuracies)


def start_from(network: nn.Module, start: Probe | None) -> None:
    """Load the probe's weights, its backbone and its head, into a network of the same architecture."""
    if start is not None:
        network.load_state_dict(load_network(start.file)[0].state_dict())


def _rows(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return one row for each class; of two classes scikit-learn has only the difference."""
    if len(weight) > 1:
        return weight.copy(), bias.copy()
    return np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])


def _said(arch: str, result: Mapping[str, Any]) -> str:
    return (
        f"{arch} with frozen features: validation accuracy {result['validation_accuracy']:.2%} "
        f"(C = {result['c']:g}, {result['seconds']:.0f} s)"
    )
