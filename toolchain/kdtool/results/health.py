"""Faults that make a classifier useless, whatever its other figures say."""

from __future__ import annotations

import math

NEARLY_ALL = 0.95  # share of the images with the same prediction
MORE_THAN_TRUE = 0.05  # by which it exceeds the share of the images with this label
EXPLODED = 10.0  # cross-entropy / cross-entropy of a guess


def one_class(predicted_share: float, true_share: float) -> bool:
    """True if nearly all images have the same prediction, and fewer have this label.

    Args:
        predicted_share, true_share: share of the images with the commonest prediction, with this label.
    """
    return predicted_share >= NEARLY_ALL and predicted_share - true_share > MORE_THAN_TRUE


def exploded(loss: float, classes: int) -> bool:
    """True if a mean cross-entropy is over 10 times that of a guess, ln K, or not finite."""
    return not loss <= EXPLODED * math.log(classes)
