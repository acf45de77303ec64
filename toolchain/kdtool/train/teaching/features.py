"""What a teacher that works along offers: its logits, and what it has inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdtool.arch.taps import Taps, stages
from kdtool.core.preprocess import Preprocess
from kdtool.core.stageoutput import StageOutput
from kdtool.losses import feature_loss, pair_stages
from kdtool.losses.stages import Pairs
from kdtool.recipe.settings import FeatureSettings
from kdtool.train.loop.evaluate import in_company
from kdtool.train.loop.objective import Output, combined
from kdtool.train.views.batch import Batch, to_input


class OnlineTeacher:
    """Answers batches itself, without gradient, on the very pixels the student sees.

    One forward pass a batch, whoever asks.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)
        self._preprocess, self._tapped = preprocess, False
        self._answered: tuple[Batch, Tensor] | None = None

    def listen(self, outputs: Sequence[StageOutput]) -> Taps:
        """Taps on these stages; from now on the images of a batch pass alone, or taps would hear others."""
        self._tapped = True
        return Taps(self.network, outputs)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        if self._answered is None or self._answered[0] is not batch:
            self.network.to(batch.images.device)
            images = to_input(batch.pixels, self._preprocess, batch.images.device)
            logits = self.network(images) if self._tapped else combined(in_company(self.network, images))
            self._answered = batch, batch.group.whole(logits.float(), len(batch.indices))
        return self._answered[1]


class FeatureDistillation(nn.Module):
    """weight · warm(epoch) · loss(student's stages, teacher's stages), of the last forward of the student.

    The helper layers of the loss are the parameters of this module; the teacher's are not among them.

    Args:
        size: side of the input, pixels.

    Raises:
        UsageError: stages that a network does not have, or that the loss cannot compare.
    """

    def __init__(
        self, settings: FeatureSettings, student: nn.Module, teacher: OnlineTeacher, size: int
    ) -> None:
        super().__init__()
        self._settings, self._teacher = settings, teacher
        self.loss, pairs = compare_features(settings, student, teacher.network, size)
        self._student_taps = Taps(student, [own for own, _ in pairs])
        self._teacher_taps = teacher.listen([wanted for _, wanted in pairs])

    def close(self) -> None:
        """No longer listen to either network."""
        self._student_taps.close()
        self._teacher_taps.close()

    def forward(self, output: Output, batch: Batch) -> Tensor:  # noqa: ARG002 (an Objective's arguments)
        self._teacher(batch)
        loss: Tensor = self.loss(self._student_taps.take(), self._teacher_taps.take())
        share = len(batch.pixels) / len(batch.indices)  # these losses are means over the images
        return batch.group.total(self._settings.weight * self._settings.warm(batch.epoch) * share * loss)


def compare_features(
    settings: FeatureSettings, student: nn.Module, teacher: nn.Module, size: int
) -> tuple[nn.Module, Pairs]:
    """The loss with its helper layers, and the stages it compares.

    Raises:
        UsageError: stages that a network does not have, or that the loss cannot compare.
    """
    offered = stages(student, size), stages(teacher, size)
    pairs = pair_stages(settings.name, *offered, settings.student_stages, settings.teacher_stages)
    shapes = ([pair[side].shape for pair in pairs] for side in (0, 1))
    return feature_loss(settings.name, settings.params)(*shapes), pairs
