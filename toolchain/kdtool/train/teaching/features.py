"""What a teacher that works along offers: its logits, and what it has inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdtool.arch.features import FeatureExtractor, feature_stages
from kdtool.core.featurestage import FeatureStage
from kdtool.core.preprocess import Preprocess
from kdtool.losses import feature_loss, pair_stages
from kdtool.losses.stages import Pairs
from kdtool.train.loop.criterion import Output, combined, warm
from kdtool.train.loop.evaluate import in_company
from kdtool.train.views.batch import Batch, to_input


class OnlineTeacher:
    """Computes its logits on each batch, without gradient, on the very pixels the student sees.

    One forward pass a batch, whoever asks.

    Args:
        preprocess: its own, which normalizes the pixels; None: it sees the images as the student does.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess | None = None) -> None:
        self.network = network.eval()
        self._preprocess, self._listened_to = preprocess, False
        self._last: tuple[Batch, Tensor] | None = None

    def listen(self, outputs: Sequence[FeatureStage]) -> FeatureExtractor:
        """An extractor of these stages; from now on a batch passes alone, without images beside it."""
        self._listened_to = True
        return FeatureExtractor(self.network, outputs)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        if self._last is None or self._last[0] is not batch:
            images = batch.images
            self.network.to(images.device)
            if self._preprocess is not None:
                assert batch.pixels is not None, "a preprocessing of its own wants pixels"
                images = to_input(batch.pixels, self._preprocess, images.device)
            logits = self.network(images) if self._listened_to else combined(in_company(self.network, images))
            self._last = batch, batch.group.whole(logits.float(), len(batch.indices))
        return self._last[1]


class FeatureDistillation(nn.Module):
    """weight · warm(epoch) · loss(student's stages, teacher's stages), of the last forward of the student.

    The helper layers of the loss are the parameters of this module; the teacher's are not among them.

    Args:
        loss: a feature loss for the shapes of `pairs`, see `compare_features`.
        pairs: the stages it compares, (student's, teacher's).
        warmup_epochs: over which the term rises, see `kdtool.train.loop.criterion.warm`.
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
        self._student_features = FeatureExtractor(student, [own for own, _ in pairs])
        self._teacher_features = teacher.listen([wanted for _, wanted in pairs])

    def close(self) -> None:
        """No longer listen to either network."""
        self._student_features.close()
        self._teacher_features.close()

    def forward(self, output: Output, batch: Batch) -> Tensor:  # noqa: ARG002 (a criterion's arguments)
        self._teacher(batch)
        loss: Tensor = self.loss(self._student_features.take(), self._teacher_features.take())
        share = len(batch.images) / len(batch.indices)  # these losses are means over the images
        return batch.group.total(self._weight * warm(batch.epoch, self._warmup_epochs) * share * loss)


def compare_features(
    name: str,
    params: Mapping[str, Any],
    student: nn.Module,
    teacher: nn.Module,
    size: int,
    student_stages: Sequence[str] = (),
    teacher_stages: Sequence[str] = (),
) -> tuple[nn.Module, Pairs]:
    """The feature loss `name` with its helper layers, and the stages it compares.

    Args:
        params: of the loss.
        size: side of the input, pixels.
        student_stages, teacher_stages: names of modules, paired in order; empty: the loss's own choice.

    Raises:
        UsageError: stages that a network does not have, or that the loss cannot compare.
    """
    offered = feature_stages(student, size), feature_stages(teacher, size)
    pairs = pair_stages(name, *offered, student_stages, teacher_stages)
    shapes = ([pair[side].shape for pair in pairs] for side in (0, 1))
    return feature_loss(name, params)(*shapes), pairs
