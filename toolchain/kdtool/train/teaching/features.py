"""Distillation with a teacher that runs in each step: its logits and its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.arch.features import FeatureExtractor, feature_stages
from kdtool.core.featurestage import FeatureStage
from kdtool.core.preprocess import Preprocess
from kdtool.losses import feature_loss, pair_stages
from kdtool.losses.stages import Pairs
from kdtool.train.loop.criterion import Output, combined, warm
from kdtool.train.loop.evaluate import padded_forward
from kdtool.train.views.batch import Batch, Examples, to_input


class OnlineTeacher:
    """Teacher that computes its logits for each batch, without gradient, from the same pixels as the student.

    Several calls with the same batch need one forward pass.

    Args:
        preprocess: preprocessing of the teacher, which normalizes the pixels; None: the teacher gets the
            images of the student.
        examples: the same views at the size of the teacher, which are then made for it; None: the teacher
            has the size of the student.
    """

    def __init__(
        self, network: nn.Module, preprocess: Preprocess | None = None, examples: Examples | None = None
    ) -> None:
        self.network = network.eval()
        self._preprocess, self._examples, self._has_hooks = preprocess, examples, False
        self._last: tuple[Batch, Tensor] | None = None

    def listen(self, outputs: Sequence[FeatureStage]) -> FeatureExtractor:
        """Return an extractor of these stages; from now on batches are not padded (see `padded_forward`)."""
        self._has_hooks = True
        return FeatureExtractor(self.network, outputs)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Compute the logits (B, K)."""
        if self._last is None or self._last[0] is not batch:
            images = self._images(batch)
            self.network.to(images.device)
            output = self.network(images) if self._has_hooks else padded_forward(self.network, images)
            logits = combined(output)
            self._last = batch, batch.group.gather(logits.float(), len(batch.indices))
        return self._last[1]

    def _images(self, batch: Batch) -> Tensor:
        device = batch.images.device
        if self._examples is not None:
            share = batch.indices[batch.group.share(len(batch.indices))]
            return self._examples.batch(share, batch.epoch, device).images
        if self._preprocess is None:
            return batch.images
        assert batch.pixels is not None, "another preprocessing needs the pixels"
        return to_input(batch.pixels, self._preprocess, device)


class FeatureDistillation(nn.Module):
    """Feature term: weight · warm(epoch) · loss(student features, teacher features) of the last forward pass.

    The parameters of this module are those of the helper layers of the loss; the teacher's are not included.

    Args:
        loss: feature loss for the shapes of `pairs`, see `compare_features`.
        pairs: pairs (student stage, teacher stage) that the loss compares.
        warmup_epochs: number of epochs in which the term rises, see `kdtool.train.loop.criterion.warm`.
    """

    def __init__(
        self,
        loss: nn.Module,
        pairs: Pairs,
        student: nn.Module,
        teacher: OnlineTeacher,
        *,
        weight: float = 1.0,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        self.loss, self._teacher = loss, teacher
        self._weight, self._warmup_epochs = weight, warmup_epochs
        self._student_features = FeatureExtractor(student, [stage for stage, _ in pairs])
        self._teacher_stages = [stage for _, stage in pairs]
        self._teacher_features = teacher.listen(self._teacher_stages)

    def close(self) -> None:
        """Remove the hooks from both networks."""
        self._student_features.close()
        self._teacher_features.close()

    def forward(self, output: Output, batch: Batch) -> Tensor:  # noqa: ARG002 (a criterion's arguments)
        self._teacher(batch)
        features = self._teacher_features.take()
        fitted = [fit_map(*pair) for pair in zip(features, self._teacher_stages, strict=True)]
        loss: Tensor = self.loss(self._student_features.take(), fitted)
        share = len(batch.images) / len(batch.indices)  # feature losses are means over the images
        return batch.group.sum(self._weight * warm(batch.epoch, self._warmup_epochs) * share * loss)


def fit_map(feature: Tensor, stage: FeatureStage) -> Tensor:
    """Average a map (B, C, H, W) to the sides of its stage, if the teacher saw larger images."""
    sides = stage.shape[1:]
    if not stage.is_map or feature.shape[2:] == torch.Size(sides):
        return feature
    return F.adaptive_avg_pool2d(feature, (sides[0], sides[1]))


def compare_features(
    name: str,
    params: Mapping[str, Any],
    student: nn.Module,
    teacher: nn.Module,
    size: int,
    student_stages: Sequence[str] = (),
    teacher_stages: Sequence[str] = (),
) -> tuple[nn.Module, Pairs]:
    """Build the feature loss `name` with its helper layers, and pair the stages that it compares.

    Args:
        params: parameters of the loss.
        size: side of the student's input, pixels. The maps of a teacher with a larger input are averaged to
            those that it would have at this size.
        student_stages, teacher_stages: names of modules, paired in order; empty: the loss chooses.

    Raises:
        UsageError: a network does not have the named stages, or the loss cannot compare them.
    """
    stages = feature_stages(student, size), feature_stages(teacher, size)
    pairs = pair_stages(name, *stages, student_stages, teacher_stages)
    shapes = ([pair[side].shape for pair in pairs] for side in (0, 1))
    return feature_loss(name, params)(*shapes), pairs
