"""Evaluation of all compared networks on the test split, which is opened once, after all trainings.

torch runs the networks, as in training; `kdtool bench` evaluates the exported ONNX files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

from kdtool.arch.network import load_network
from kdtool.core.files import sha256_file, write_text
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.results.classes import Tally
from kdtool.results.predictions import Predictions, read_predictions
from kdtool.runs.stage import Stage
from kdtool.runtime.classify import Classified
from kdtool.train.loop.criterion import CrossEntropy
from kdtool.train.loop.evaluate import evaluate, predict
from kdtool.train.views.batch import Examples, plain_examples
from kdtool.train.views.batches import InOrder

StringArray = npt.NDArray[np.str_]
PREDICTIONS = "predictions.csv"
TEACHER = "teacher"


@dataclass(frozen=True)
class EvaluatedNetworks:
    """Results of all networks on the test images.

    Attributes:
        correct: key of a network → (N,), true for each test image that it classifies correctly.
        tallies: key of a network → number of test images of each class.
        teacher_validation: accuracy of the teacher on the validation images, in [0, 1].
    """

    correct: Mapping[str, npt.NDArray[np.bool_]]
    tallies: Mapping[str, Tally]
    teacher_validation: float

    def accuracy(self, key: str) -> float:
        """Test accuracy of the network `key`, in [0, 1]."""
        return float(self.correct[key].mean())


def evaluate_all(
    folder: Path, prepared: Prepared, networks: Mapping[str, Path], screen: Screen
) -> EvaluatedNetworks:
    """Evaluate all networks on the test images; skipped if this was done for the same networks.

    Args:
        networks: key → file of weights; the key of the teacher is `TEACHER`.
    """
    inputs = {
        "data": prepared.digest,
        "networks": {key: sha256_file(path) for key, path in networks.items()},
    }
    stage = Stage("test", folder, inputs)
    manifest = stage.complete()
    if manifest is None:
        torch.set_num_threads(usable_threads())
        stage.reopen()
        validation = _validation_accuracy(networks[TEACHER], prepared)
        write_text(folder / PREDICTIONS, _predict(prepared, networks, screen).to_csv())
        manifest = stage.seal([PREDICTIONS], {"teacher_validation": validation}, versions_of())
    else:
        screen.say("test: complete, skipped.")
    predictions = read_predictions(folder / PREDICTIONS)
    labels = np.array(predictions.labels)
    predicted = {key: np.array(model.predicted) for key, model in predictions.models.items()}
    return EvaluatedNetworks(
        {key: found == labels for key, found in predicted.items()},
        {key: _tally(labels, found, prepared.classes) for key, found in predicted.items()},
        float(manifest.result["teacher_validation"]),
    )


def _tally(labels: StringArray, predicted: StringArray, classes: Sequence[str]) -> Tally:
    number = {name: index for index, name in enumerate(classes)}
    first, second = (np.array([number[name] for name in names]) for names in (labels, predicted))
    return Tally.of(first, second, len(classes))


def _predict(prepared: Prepared, networks: Mapping[str, Path], screen: Screen) -> Predictions:
    models = {}
    with screen.bar("test", len(networks)) as bar:
        for key, path in networks.items():
            logits = predict(*_load(path, prepared, "test"))
            models[key] = Classified.of(logits).named(prepared.classes)
            bar.advance(note=key)
    split = prepared.split("test")
    return Predictions(split.paths, tuple(prepared.classes[label] for label in split.labels), models)


def _validation_accuracy(path: Path, prepared: Prepared) -> float:
    """Top-1 accuracy on the validation split."""
    network, examples, device = _load(path, prepared, "validation")
    return evaluate(network, InOrder(examples), CrossEntropy(), device).accuracy


def _load(path: Path, prepared: Prepared, split: str) -> tuple[nn.Module, Examples, torch.device]:
    """Load a network; also return the split with its preprocessing, and the device."""
    network, info = load_network(path)
    device = Accelerator().device
    data = prepared.like(info.preprocess) or prepared
    return network.to(device), plain_examples(data, split, info.preprocess), device
