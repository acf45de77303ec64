"""Criteria: the function of output and batch that a training minimizes.

The output of a network is its logits (B, K). A transformer with a distillation token returns two tensors of
logits while it is distilled: from the class head and from the distillation head (Touvron et al. 2021,
arXiv:2012.12877).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.losses import LogitLoss
from kdtool.train.views.batch import Batch

Output = Tensor | tuple[Tensor, Tensor]
TeacherLogits = Callable[[Batch], Tensor]  # batch → logits (B, K)

Criterion = nn.Module  # (output, batch) → loss, mean over B; its parameters, if any, train too


def heads(output: Output) -> tuple[Tensor, Tensor]:
    """Logits that learn from the labels, and logits that learn from the teacher; the same with one head."""
    return output if isinstance(output, tuple) else (output, output)


def combined(output: Output) -> Tensor:
    """Logits for predictions: with two heads their mean, as at inference."""
    return output if isinstance(output, Tensor) else (output[0] + output[1]) / 2


def whole_output(output: Output, batch: Batch) -> Output:
    """Gather the output for the whole batch from the shares of all processes."""
    group, length = batch.group, len(batch.indices)
    if group.count == 1:
        return output
    if isinstance(output, tuple):
        return group.gather(output[0].float(), length), group.gather(output[1].float(), length)
    return group.gather(output.float(), length)


def warm(epoch: int, warmup_epochs: int) -> float:
    """Warm-up factor of a term in `epoch`, counted from 0: min(1, (epoch + 1) / warmup_epochs).

    The factor is above 0 in the first epoch, and 1 without warm-up.
    """
    return min(1.0, (epoch + 1) / warmup_epochs) if warmup_epochs else 1.0


class CrossEntropy(nn.Module):
    """Cross-entropy with targets (1 − ε)·y + ε/K (Szegedy et al. 2016, arXiv:1512.00567).

    y is the one-hot label, or the label distribution of a mixed image. An image without a label adds nothing
    to the mean over the batch; a mixed image adds as much as its labelled part.

    Args:
        prior: (K,) frequencies π of the classes, for logit adjustment: log π is added to the logits, so that
            training with the frequent classes does not lower the logits of the rare ones (Menon et al. 2021,
            arXiv:2007.07314). None adds nothing.
    """

    def __init__(self, label_smoothing: float = 0.0, prior: npt.NDArray[np.float64] | None = None) -> None:
        super().__init__()
        self._smoothing = label_smoothing
        self._shift: Tensor | None
        shift = None if prior is None else torch.from_numpy(np.log(prior)).float()
        self.register_buffer("_shift", shift, persistent=False)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        logits = heads(output)[0].float()
        if self._shift is not None:
            logits = logits + self._shift
        if not batch.some_unlabelled:
            return F.cross_entropy(logits, batch.labels, label_smoothing=self._smoothing)
        share = batch.distribution if batch.distribution is not None else _one_hot(batch.target, logits)
        mass = share.sum(1, keepdim=True)  # 0 without a label
        wanted = (1 - self._smoothing) * share + self._smoothing * mass / logits.shape[1]
        return -(wanted * logits.log_softmax(1)).sum(1).mean()


def _one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """Label distribution (B, K); a row of zeros for an image without a label."""
    labelled = (target >= 0).unsqueeze(1)
    return F.one_hot(target.clamp(min=0), logits.shape[1]).to(logits.dtype) * labelled


class Distillation(nn.Module):
    """ce_weight · CE(class head, y) + weight · warm(epoch) · loss(distillation head, t, y).

    Args:
        loss: logit loss with its parameters bound; for a mixed image its y is the class of the larger part.
        teacher: function that returns t, the teacher's logits for a batch; not called if `weight` is 0.
        warmup_epochs: number of epochs in which the teacher's term rises, see `warm`.
        label_smoothing, prior: see `CrossEntropy`.
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
        prior: npt.NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__()
        self._loss, self._teacher = loss, teacher
        self._weight, self._ce_weight, self._warmup_epochs = weight, ce_weight, warmup_epochs
        self._hard = CrossEntropy(label_smoothing, prior)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        hard: Tensor = self._ce_weight * self._hard(output, batch)
        if not self._weight:
            return hard
        _, logits = heads(output)
        answers = self._teacher(batch)
        target = batch.target
        if batch.some_unlabelled:
            target = torch.where(target < 0, answers.argmax(1), target)  # the teacher labels them
        soft: Tensor = self._loss(logits.float(), answers, target)
        return hard + self._weight * warm(batch.epoch, self._warmup_epochs) * soft


class Sum(nn.Module):
    """Sum of criteria."""

    def __init__(self, *terms: nn.Module) -> None:
        super().__init__()
        self._terms = nn.ModuleList(terms)

    def forward(self, output: Output, batch: Batch) -> Tensor:
        losses: list[Tensor] = [term(output, batch) for term in self._terms]
        return sum(losses[1:], start=losses[0])
