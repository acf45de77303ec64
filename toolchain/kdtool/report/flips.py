"""Changes by the INT8 step: images for which the INT8 model predicts another class than the FP32 model."""

from __future__ import annotations

from dataclasses import dataclass

from kdtool.results.predictions import Predictions


@dataclass(frozen=True)
class Flip:
    """One image whose predicted class changed; each probability belongs to the prediction beside it."""

    row: int
    path: str
    true: str
    before: str
    before_probability: float
    after: str
    after_probability: float

    @property
    def effect(self) -> str:
        """The effect: "lost", "won", or "neither" if both predictions are wrong."""
        if self.before == self.true:
            return "lost"
        return "won" if self.after == self.true else "neither"


@dataclass(frozen=True)
class Flips:
    """All flips of one network, the most confident wrong ones first.

    Attributes:
        drift: mean |change of the probability| over the images whose predicted class stayed the same.
    """

    model: str
    n_images: int
    flips: tuple[Flip, ...]
    drift: float

    def count(self, effect: str) -> int:
        return sum(flip.effect == effect for flip in self.flips)


def flips_of(predictions: Predictions, model: str) -> Flips | None:
    """Find the flips between `model` and its INT8 file; None if one of the two was not measured."""
    before, after = predictions.models.get(model), predictions.models.get(f"{model}-int8")
    if before is None or after is None:
        return None
    rows = range(len(predictions.paths))
    flips = [
        Flip(
            row, predictions.paths[row], predictions.labels[row],
            before.predicted[row], before.probability[row], after.predicted[row], after.probability[row],
        )
        for row in rows
        if before.predicted[row] != after.predicted[row]
    ]  # fmt: skip
    order = {"lost": 0, "neither": 1, "won": 2}
    flips.sort(key=lambda flip: (order[flip.effect], -flip.after_probability, flip.row))
    same = [row for row in rows if before.predicted[row] == after.predicted[row]]
    drift = sum(abs(before.probability[row] - after.probability[row]) for row in same) / max(len(same), 1)
    return Flips(model, len(predictions.paths), tuple(flips), drift)
