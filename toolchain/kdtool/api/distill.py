"""Distillation of the caller's networks on the caller's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.errors import UsageError
from kdtool.core.spelling import Caller, called_from
from kdtool.machine.terminal import screen_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdtool.api.training.criteria import LossArguments


@dataclass(frozen=True)
class Distilled:
    """A trained student and its history. Accuracies are top-1 on the validation batches, from 0 to 1.

    Attributes:
        student: the module of the caller, with its best weights, in eval mode.
        accuracy: accuracy of the student.
        teacher_accuracy: accuracy of the teacher; None if there was no teacher.
        best_epoch: epoch that gave the best weights, counted from 1.
        history: one mapping for each epoch: losses, accuracies, learning rate, images per second and seconds.
            The keys are the columns of history.csv.

    Example:
        distilled = kdtool.distill(student, teacher, train, validation, epochs=10)
        distilled.accuracy, distilled.teacher_accuracy, distilled.history[-1]["train_loss"]
    """

    student: nn.Module
    accuracy: float
    teacher_accuracy: float | None
    best_epoch: int
    history: tuple[Mapping[str, float], ...]

    def __repr__(self) -> str:
        name, epochs = type(self.student).__name__, len(self.history)
        teacher = "no teacher" if self.teacher_accuracy is None else f"teacher {self.teacher_accuracy:.2%}"
        return f"Distilled({name}: {self.accuracy:.2%} in epoch {self.best_epoch} of {epochs}; {teacher})"


@called_from(Caller.FUNCTION)
def distill(
    student: nn.Module,
    teacher: nn.Module | None,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: str | Callable[[Tensor, Tensor, Tensor], Tensor] = "kd",
    weight: float = 0.5,
    ce_weight: float = 0.5,
    loss_warmup_epochs: int = 0,
    label_smoothing: float = 0.0,
    features: str | Callable[..., nn.Module] | None = None,
    features_weight: float = 1.0,
    student_layers: Sequence[str] = (),
    teacher_layers: Sequence[str] = (),
    teacher_input: Callable[[Tensor], Tensor] | None = None,
    epochs: int = 30,
    lr: float = 1e-3,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    schedule: str = "cosine",
    warmup_epochs: int = 0,
    patience: int = 0,
    ema: float = 0.0,
    precision: str = "float32",
    seed: int = 0,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Distilled:
    """Train a student network with the knowledge of a teacher network, on the batches of the caller.

    The training minimizes ce_weight · cross-entropy + weight · loss(student, teacher) + features_weight ·
    features, and keeps the weights with the best validation accuracy. Without a teacher, it minimizes the
    cross-entropy alone. That gives the baseline of a student, if the initial weights and the other arguments
    are equal.

    The student is trained in place, on the accelerator if there is one. The teacher does not change: a copy
    of it computes the logits, in eval mode and without gradient. Both networks see the same images.

    Equal seed, initial weights and batches give equal weights. A DataLoader that shuffles needs no
    preparation for this, because its order depends on `seed` and not on its own generator. Other batches and
    samplers must repeat their order, draw from torch's generator, or have a method set_epoch. The same holds
    for random transforms; if they draw from another generator than torch's, workers must not be persistent.

    Args:
        student: network, images (B, C, H, W) → logits (B, K).
        teacher: network for the same classes in the same order, images → logits (B, K); None trains with the
            labels alone.
        train: batches (images, labels) that can be iterated in each epoch, such as a DataLoader: float images
            as the networks expect them, and class indices (B,) from 0 to K − 1. In the first 1,000 steps,
            with `ema` always, up to 32 batches are read once more after each epoch, for the statistics of
            batch normalization.
        validation: batches like those of `train`; their accuracy chooses the best epoch.
        loss: logit loss: a name of `kdtool.list_losses()`, a result of `kdtool.create_loss`, or another
            function or module (student_logits, teacher_logits, target) → scalar. If the loss has parameters,
            they are trained too.
        weight: weight of the logit loss.
        ce_weight: weight of the cross-entropy with the labels.
        loss_warmup_epochs: number of epochs in which both losses with the teacher rise to their weights.
        label_smoothing: ε of the cross-entropy.
        features: feature loss: a name of `kdtool.list_losses()`, a result of `kdtool.create_loss`, or another
            function (student_shapes, teacher_shapes) → torch module
            (student_features, teacher_features) → scalar.
        features_weight: weight of the feature loss; feature losses differ by orders of magnitude.
        student_layers: dotted names of the student's modules whose outputs the feature loss compares, such as
            ["stage2", "head.norm"]; outputs are maps (B, C, H, W) or tokens (B, N, D). If it is empty, the
            loss chooses layers, provided that kdtool knows the feature stages of both networks.
        teacher_layers: dotted names of the teacher's modules, paired in order with `student_layers`.
        teacher_input: function of the images that returns the input of the teacher, such as another
            normalization.
        epochs: largest number of epochs.
        lr: largest learning rate.
        optimizer: adam, adamw or sgd.
        weight_decay: weight decay of the optimizer; biases and norms do not decay.
        schedule: course of the learning rate: cosine falls to 0 over `epochs`, constant does not fall.
        warmup_epochs: number of epochs in which the learning rate rises to `lr`.
        patience: number of epochs without a better validation accuracy after which training stops; 0 never
            stops.
        ema: decay of an exponential moving average of the weights, which is validated and kept in place of
            the weights; 0 uses no average.
        precision: arithmetic of the training, float32 or bfloat16.
        seed: seed of the order of the batches, of new layers of a loss, and of the networks' random numbers.
        out: folder for checkpoints and history.csv. If a training stops, the same call continues it and gives
            the same weights; the first batches identify the data. None writes nothing.
        quiet: print nothing on standard error.

    Returns:
        The student with its best weights, the accuracies, and the history of the epochs.

    Raises:
        UsageError: an argument is wrong, or `out` holds another training.
        GateError: the loss or a gradient is not finite.
        Interrupted: Ctrl-C or SIGTERM stopped the training; with `out`, the state is saved.
        LockedError: another process trains in `out`.

    Example:
        loss = kdtool.create_loss("dkd", beta=2.0)
        hints = {"features": "fitnet", "student_layers": ["stage2"], "teacher_layers": ["layer3"]}
        distilled = kdtool.distill(student, teacher, train, validation, loss=loss, out="training", **hints)
        kdtool.export(distilled.student, "own/onnx/student.onnx", classes=["cat", "dog"], size=224)
    """
    from kdtool.machine.packages import require_training

    require_training("distill")
    from kdtool.api.arguments import checked_settings
    from kdtool.api.training.criteria import LossArguments
    from kdtool.api.training.trainer import train_network
    from kdtool.recipe.settings import StudentSettings
    from kdtool.train.stage import optimization_of

    settings = checked_settings(
        StudentSettings,
        epochs=epochs,
        lr=lr,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        patience=patience,
        ema=ema,
        precision=precision,
    )
    loss_arguments = checked_settings(
        LossArguments,
        loss=loss,
        weight=weight,
        ce_weight=ce_weight,
        loss_warmup_epochs=loss_warmup_epochs,
        label_smoothing=label_smoothing,
        features=features,
        features_weight=features_weight,
        student_layers=student_layers,
        teacher_layers=teacher_layers,
        teacher_input=teacher_input,
        seed=seed,
    )
    _require_consistent(loss_arguments, settings.epochs, warmup_epochs, teacher is not None)
    progress, teacher_accuracy = train_network(
        student,
        teacher,
        {"train": train, "validation": validation},
        loss_arguments,
        optimization_of(settings),
        None if out is None else Path(out),
        screen_of(quiet),
    )
    best = progress.rows[progress.best_epoch]
    return Distilled(
        student=student,
        accuracy=best["validation_accuracy"],
        teacher_accuracy=teacher_accuracy,
        best_epoch=int(best["epoch"]),
        history=tuple(progress.rows),
    )


def _require_consistent(
    loss_arguments: LossArguments, epochs: int, warmup_epochs: int, has_teacher: bool
) -> None:
    """Raise UsageError if an argument has no effect, or if the student learns nothing from its teacher."""
    for field, warmup in (
        ("warmup_epochs", warmup_epochs),
        ("loss_warmup_epochs", loss_arguments.loss_warmup_epochs),
    ):
        if warmup and warmup >= epochs:
            raise UsageError(f"{field} is {warmup}; allowed: 0 to {epochs - 1}, fewer than epochs.")
    if not has_teacher and loss_arguments.features is not None:
        raise UsageError("features: there is no teacher to compare the student with.", "Leave features out.")
    for field in ("student_layers", "teacher_layers"):
        if loss_arguments.features is None and getattr(loss_arguments, field):
            raise UsageError(f"{field} is given without features.", 'Example: features="fitnet"')
    if has_teacher and not loss_arguments.weight and loss_arguments.features is None:
        raise UsageError(
            "weight is 0 and features is None, so the student learns nothing from its teacher; allowed: "
            "above 0.",
            "Without a teacher: teacher=None",
        )
