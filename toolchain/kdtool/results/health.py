"""Faults that make a classifier useless, whatever its other figures say.

A fault is a sentence about the answers to a split: the cross-entropy exploded, nearly all images get one
class, or the accuracy is no better than chance. A model with a fault is never shipped
(`kdtool.runs.soundness`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kdtool.results.classes import Tally
from kdtool.results.figures import interval, percent
from kdtool.results.statistics.accuracy import wilson

NEARLY_ALL = 0.95  # share of the images with the same prediction
MORE_THAN_TRUE = 0.05  # by which it exceeds the share of the images with this label
FEWEST = 30  # images; fewer say too little to stop for
EXPLODED = 10.0  # cross-entropy / cross-entropy of a guess


def fault_of(tally: Tally, classes: Sequence[str] = (), loss: float | None = None) -> str | None:
    """Say what makes the predictions useless; None if nothing does, or if there are too few to tell.

    Args:
        tally: predictions for at least one image; with fewer than `FEWEST`, only the loss is judged.
        classes: names of the classes; without them a class is named by its number.
        loss: mean cross-entropy of the predictions, if it is known.
    """
    if loss is not None and exploded(loss, len(tally.labels)):
        guess = math.log(len(tally.labels))
        return f"its cross-entropy of {loss:.3g} is over {EXPLODED:g} times that of a guess, {guess:.3g}"
    if tally.images < FEWEST:
        return None
    common = int(tally.predicted.argmax())
    predicted, true = (float(counts[common]) / tally.images for counts in (tally.predicted, tally.labels))
    if one_class(predicted, true):
        name = repr(classes[common]) if classes else f"class {common}"
        return f"it answers {name} for {percent(predicted)} of the images, and {percent(true)} are"
    if at_chance(tally):
        between = interval(wilson(int(tally.right.sum()), tally.images))
        return (
            f"its accuracy of {percent(tally.accuracy)} ({between} by its 95 % interval, {tally.images} "
            f"images) is no better than chance, {percent(tally.chance)}"
        )
    return None


def one_class(predicted_share: float, true_share: float) -> bool:
    """True if nearly all images have the same prediction, and fewer have this label.

    Args:
        predicted_share, true_share: share of the images with the commonest prediction, with this label.
    """
    return predicted_share >= NEARLY_ALL and predicted_share - true_share > MORE_THAN_TRUE


def exploded(loss: float, classes: int) -> bool:
    """True if a mean cross-entropy is over 10 times that of a guess, ln K, or not finite."""
    return not loss <= EXPLODED * math.log(classes)


def at_chance(tally: Tally) -> bool:
    """True if the 95 % interval of the accuracy does not lie above `Tally.chance`."""
    return wilson(int(tally.right.sum()), tally.images)[0] <= tally.chance
