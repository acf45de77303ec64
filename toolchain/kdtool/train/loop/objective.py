"""What a training minimizes: a function of the network's output and the batch.

A network answers with logits (B, K); a transformer with a distillation token, while it is distilled,
with two of them: the class head's and the distillation head's (Touvron et al. 2021, arXiv:2012.12877).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.losses import LogitLoss
from kdtool.recipe.settings import LossSettings
from kdtool.train.views.batch import Batch

Output = Tensor | tuple[Tensor, Tensor]
Answers = Callable[[Batch], Tensor]  # the teacher's logits (B, K) on a batch

Objective = nn.Module  # (output, batch) → loss, mean over B; its parameters, if any, train along


def heads(output: Output) -> tuple[Tensor, Tensor]:
    """The logits that learn from the labels, and those that learn from the teacher; mostly the same."""
    return output if isinstance(output, tuple) else (output, output)


def combined(output: Output) -> Tensor:
    """The logits that count: with two heads their mean, as at inference."""
    return output if isinstance(output, Tensor) else (output[0] + output[1]) / 2


def whole_output(output: Output, batch: Batch) -> Output:
    """The output on the whole batch, of which this process has seen its share of the images."""
    group, length = batch.group, len(batch.indices)
    if group.count == 1:
        return output
    if isinstance(output, tuple):
        return group.whole(output[0].float(), length), group.whole(output[1].float(), length)
    return group.whole(output.float(), length)


class CrossEntropy(nn.Module):
    """Cross-entropy with targets (1 − ε)·y + ε/K (Szegedy et al. 2016, arXiv:1512.00567).

    y is the one-hot label, or the two labels of a mixed picture by their shares.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self._smoothing = label_smoothing

    def forward(self, output: Output, batch: Batch) -> Tensor:
        logits, _ = heads(output)
        return F.cross_entropy(logits.float(), batch.labels, label_smoothing=self._smoothing)


class Distillation(nn.Module):
    """ce_weight · CE(class head, y) + weight · warm(epoch) · loss(distillation head, t, y).

    Args:
        loss: a logit loss with its parameters bound; where pictures are mixed its y is the larger part's.
        answers: the teacher's logits on a batch.
    """

    def __init__(
        self, settings: LossSettings, label_smoothing: float, loss: LogitLoss, answers: Answers
    ) -> None:
        super().__init__()
        self._settings, self._loss, self._answers = settings, loss, answers
        self._hard = CrossEntropy(label_smoothing)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        settings = self._settings
        hard: Tensor = settings.ce_weight * self._hard(output, batch)
        if not settings.weight:
            return hard
        _, logits = heads(output)
        soft: Tensor = self._loss(logits.float(), self._answers(batch), batch.target)
        return hard + settings.weight * settings.warm(batch.epoch) * soft


class Sum(nn.Module):
    """The sum of objectives."""

    def __init__(self, *terms: nn.Module) -> None:
        super().__init__()
        self._terms = nn.ModuleList(terms)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        losses: list[Tensor] = [term(output, batch) for term in self._terms]
        return sum(losses[1:], start=losses[0])
