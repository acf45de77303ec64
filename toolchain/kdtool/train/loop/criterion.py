"""What a training minimizes: a function of the network's output and the batch.

A network puts out logits (B, K); a transformer with a distillation token, while it is distilled, two of
them: the class head's and the distillation head's (Touvron et al. 2021, arXiv:2012.12877).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.losses import LogitLoss
from kdtool.train.views.batch import Batch

Output = Tensor | tuple[Tensor, Tensor]
TeacherLogits = Callable[[Batch], Tensor]  # (B, K) of a batch

Criterion = nn.Module  # (output, batch) → loss, mean over B; its parameters, if any, train along


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


def warm(epoch: int, warmup_epochs: int) -> float:
    """The factor of a term in `epoch`, counted from 0: min(1, (epoch + 1) / warmup_epochs).

    The first epoch is never silent; without warm-up the factor is 1.
    """
    return min(1.0, (epoch + 1) / warmup_epochs) if warmup_epochs else 1.0


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
        teacher: t, the teacher's logits on a batch; not asked for where `weight` is 0.
        warmup_epochs: over which the teacher's term rises, see `warm`.
        label_smoothing: ε of the cross-entropy.
    """

    def __init__(
        self,
        loss: LogitLoss,
        teacher: TeacherLogits,
        *,
        weight: float = 0.5,
        ce_weight: float = 0.5,
        warmup_epochs: int = 0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self._loss, self._teacher = loss, teacher
        self._weight, self._ce_weight, self._warmup_epochs = weight, ce_weight, warmup_epochs
        self._hard = CrossEntropy(label_smoothing)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        hard: Tensor = self._ce_weight * self._hard(output, batch)
        if not self._weight:
            return hard
        _, logits = heads(output)
        soft: Tensor = self._loss(logits.float(), self._teacher(batch), batch.target)
        return hard + self._weight * warm(batch.epoch, self._warmup_epochs) * soft


class Sum(nn.Module):
    """The sum of criteria."""

    def __init__(self, *terms: nn.Module) -> None:
        super().__init__()
        self._terms = nn.ModuleList(terms)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        losses: list[Tensor] = [term(output, batch) for term in self._terms]
        return sum(losses[1:], start=losses[0])
