"""Health check of a trained network: is it of any use, and if not, why?

The answers to the validation images say whether there is a fault (`kdtool.results.health`). The answers to
training images, in evaluation mode as a device computes them, say why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from kdtool.arch.network import load_state
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.results.statistics.accuracy import wilson
from kdtool.runs.soundness import Cause
from kdtool.train.loop.checkpoint import Progress
from kdtool.train.loop.criterion import CrossEntropy
from kdtool.train.loop.evaluate import Evaluation, evaluate
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Examples, plain_examples
from kdtool.train.views.batches import Batches, InOrder

LOOKED_AT = 512  # training images that are evaluated to find the cause


def health(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    validation: Batches,
    prepared: Prepared,
    progress: Progress,
    screen: Screen,
) -> dict[str, Any]:
    """Check the kept epoch of a training.

    Args:
        network: the network; it gets `weights`, those of the kept epoch.
        validation: validation images, normalized for the network.

    Returns:
        Entries for the result of the stage: `fault` and `cause`; empty if the network is sound.
    """
    if progress.sound:
        return {}
    screen.say("The network is of no use on the validation photographs; looking for the cause.")
    load_state(network, weights)
    fault = evaluated(network, validation).fault(prepared.classes)
    examples = validation.examples if isinstance(validation, InOrder) else None
    seen = evaluated(network, InOrder(some_training_images(prepared, examples)))
    row = progress.rows[progress.best_epoch]
    images = int((prepared.split("train").labels >= 0).sum())
    learned = wilson(round(row["train_accuracy"] * images), images)[0] > seen.tally.chance
    if seen.sound:
        cause = Cause.OTHER_PHOTOGRAPHS
    elif learned:
        cause = Cause.EVALUATION_MODE
    else:
        cause = Cause.LEARNED_NOTHING
    shown = (
        f"{row['train_accuracy']:.1%} of the training photographs are right in training mode, "
        f"{seen.accuracy:.1%} in evaluation mode"
    )
    return {"fault": f"{fault}; {shown}", "cause": cause.value}


def evaluated(network: nn.Module, data: Batches) -> Evaluation:
    """Evaluate with cross-entropy, on the device that trains."""
    device = processes().device
    return evaluate(network.to(device), data, CrossEntropy(), device)


def some_training_images(prepared: Prepared, like: Examples | None) -> Examples:
    """Return `LOOKED_AT` training images at even distances, which are of all classes."""
    split = prepared.split("train")
    (labelled,) = np.nonzero(split.labels >= 0)
    number = min(LOOKED_AT, len(labelled))
    indices = labelled[np.linspace(0, len(labelled) - 1, number).round().astype(np.int64)]
    some = replace(
        split,
        images=np.asarray(split.images[indices]),
        labels=split.labels[indices],
        paths=tuple(split.paths[index] for index in indices),
        hashes=tuple(split.hashes[index] for index in indices),
    )
    examples = plain_examples(prepared, "train", like.preprocess if like else None)
    return replace(examples, split=some)
