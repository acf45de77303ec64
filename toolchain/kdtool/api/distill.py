"""Distillation of networks and data that the caller brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.errors import UsageError
from kdtool.machine.terminal import screen_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdtool.api.training.criteria import Objective


@dataclass(frozen=True)
class Distilled:
    """A student and how its training went. Accuracies are top-1 on the validation batches, from 0 to 1.

    Attributes:
        student: the module that was given, with the best weights, in eval mode.
        accuracy: of the student.
        teacher_accuracy: of the teacher; None where there was none.
        best_epoch: the epoch of the weights, from 1.
        history: of each epoch losses and accuracies, learning rate, images per second and seconds, with the
            columns of history.csv as keys.

    Example:
        made = kdtool.distill(student, teacher, train, validation, epochs=10)
        made.accuracy, made.teacher_accuracy, made.history[-1]["train_loss"]
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
    """Train a network with the knowledge of another one, on batches of your own.

    It minimizes ce_weight · cross-entropy + weight · loss(student, teacher) + features_weight · features, and
    keeps the weights of the best validation accuracy. Without a teacher it minimizes the cross-entropy alone:
    the baseline, if the student, its first weights and the other arguments are the same.

    The student is trained in place, on the accelerator where there is one. The teacher stays as it is: a copy
    of it works, in eval mode and without gradient. Both see the same images.

    The same seed, first weights and batches give the same weights. A DataLoader that shuffles needs nothing
    for that: its order follows from `seed`, whatever its own generator. Batches and samplers of your own must
    come in the same order again, or draw from torch's generator, or have a method set_epoch. The same holds
    for random transforms; those that draw from another generator than torch's need workers that are not
    persistent.

    Args:
        student: images (B, C, H, W) → logits (B, K).
        teacher: the same for the same classes in the same order; None trains with the labels alone.
        train: batches (images, labels), to be gone through in each epoch, such as a DataLoader: float images
            as the networks want them, and class indices (B,) from 0 to K − 1.
        validation: the same, to choose the best epoch by.
        loss: on the logits: a name of `kdtool.list_losses()`, or what `kdtool.create_loss` gives, or another
            function or module (student_logits, teacher_logits, target) → scalar. Its parameters, if it has
            any, train along.
        weight: of the loss on the logits.
        ce_weight: of the cross-entropy with the labels.
        loss_warmup_epochs: over which both losses with the teacher rise to their weights.
        label_smoothing: of the cross-entropy.
        features: a loss on what lies inside the networks: a name or what `kdtool.create_loss` gives.
        features_weight: of the loss on features; losses differ by orders of magnitude.
        student_layers: modules of the student whose outputs the loss compares, by their dotted names, such as
            ["stage2", "head.norm"]: maps (B, C, H, W) or tokens (B, N, D). Empty is the choice of the loss,
            where kdtool knows the stages of both networks.
        teacher_layers: those of the teacher, paired with the student's in order.
        teacher_input: what the teacher sees of the images, such as another normalization.
        epochs: to train, at most.
        lr: largest learning rate.
        optimizer: adam, adamw or sgd.
        weight_decay: of the optimizer; biases and norms do not decay.
        schedule: of the learning rate: cosine falls to 0 over `epochs`, constant stays.
        warmup_epochs: over which the learning rate rises to `lr`.
        patience: epochs without a better validation accuracy after which training stops; 0 is never.
        ema: decay of an average of the weights, which is validated and kept instead; 0 is none.
        precision: of the arithmetic in training, float32 or bfloat16.
        seed: of the order of the batches, of new layers of a loss, and of what the network draws.
        out: folder for checkpoints and history.csv, from which the same call goes on to the same weights; the
            first batches stand for the data. None writes nothing.
        quiet: say nothing on standard error.

    Returns:
        The student with its best weights, the accuracies, and what each epoch came to.

    Raises:
        UsageError: an argument is wrong, or `out` holds another training.
        GateError: the loss or a gradient is not finite.
        Interrupted: Ctrl-C or SIGTERM; with `out` the state is saved.
        LockedError: another process trains in `out`.

    Example:
        loss = kdtool.create_loss("dkd", beta=2.0)
        hints = {"features": "fitnet", "student_layers": ["stage2"], "teacher_layers": ["layer3"]}
        made = kdtool.distill(student, teacher, train, validation, loss=loss, out="training", **hints)
        kdtool.export(made.student, "own/onnx/student.onnx", classes=["cat", "dog"], size=224)
    """
    from kdtool.machine.packages import require_training

    require_training("distill")
    from kdtool.api.stated import checked
    from kdtool.api.training.criteria import Objective
    from kdtool.api.training.own import train_own
    from kdtool.recipe.settings import StudentSettings
    from kdtool.train.stage import optimization_of

    settings = checked(
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
    objective = checked(
        Objective,
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
    _require_consistent(objective, settings.epochs, warmup_epochs, teacher is not None)
    progress, teacher_accuracy = train_own(
        student,
        teacher,
        {"train": train, "validation": validation},
        objective,
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


def _require_consistent(objective: Objective, epochs: int, warmup_epochs: int, taught: bool) -> None:
    """Every argument counts, and the teacher has a part."""
    for field, rise in (
        ("warmup_epochs", warmup_epochs),
        ("loss_warmup_epochs", objective.loss_warmup_epochs),
    ):
        if rise and rise >= epochs:
            raise UsageError(f"{field} is {rise}; allowed: 0 to {epochs - 1}, fewer than epochs.")
    if not taught and objective.features is not None:
        raise UsageError("features: there is no teacher to compare the student with.", "Leave features out.")
    for field in ("student_layers", "teacher_layers"):
        if objective.features is None and getattr(objective, field):
            raise UsageError(f"{field} is given without features.", 'Example: features="fitnet"')
    if taught and not objective.weight and objective.features is None:
        raise UsageError(
            "weight is 0 without features, so nothing is learnt from the teacher; allowed: above 0.",
            "Without a teacher: teacher=None",
        )
