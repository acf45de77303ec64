"""Criteria of `kdtool.distill`: they are made from its arguments and tried on one batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from kdtool.arch.features import known_stages, named_stages
from kdtool.core.errors import UsageError
from kdtool.core.featurestage import FeatureStage
from kdtool.losses import FEATURE_LOSSES, LOGIT_LOSSES, create_loss
from kdtool.losses.arguments import ArgumentError
from kdtool.losses.stages import Pairs
from kdtool.train.loop.criterion import Criterion, Distillation
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher
from kdtool.train.views.batch import Batch

FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError)  # errors of the caller's code
CALLS = {
    "loss": "(student_logits, teacher_logits, target) → scalar",
    "features": "(student_shapes, teacher_shapes) → torch module, called with the features of both → scalar",
}


class LossArguments(BaseModel):
    """Arguments of `kdtool.distill` that determine the criteria."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    loss: Any
    weight: float = Field(ge=0)
    ce_weight: float = Field(ge=0)
    loss_warmup_epochs: int = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    features: Any
    features_weight: float = Field(gt=0)
    student_layers: tuple[str, ...]
    teacher_layers: tuple[str, ...]
    teacher_input: Any
    seed: int = Field(ge=0)

    def described(self) -> dict[str, Any]:
        """Return the arguments as JSON values; a text identifies each function and module."""
        callables = ("loss", "features", "teacher_input")
        values = self.model_dump(mode="json", exclude=set(callables))
        return values | {name: _described(getattr(self, name)) for name in callables}


def criteria_of(
    loss_arguments: LossArguments, student: nn.Module, teacher: OnlineTeacher, batch: Batch
) -> list[Criterion]:
    """Return the logit loss with the cross-entropy, and the feature loss if there is one; try each once.

    Raises:
        UsageError: an argument is wrong.
    """
    distillation = Distillation(
        _loss("loss", loss_arguments.loss, [*LOGIT_LOSSES]),
        teacher,
        weight=loss_arguments.weight,
        ce_weight=loss_arguments.ce_weight,
        warmup_epochs=loss_arguments.loss_warmup_epochs,
        label_smoothing=loss_arguments.label_smoothing,
    )
    criteria: dict[str, Criterion] = {"loss": distillation}
    if loss_arguments.features is not None:
        layers = loss_arguments.student_layers, loss_arguments.teacher_layers
        loss, pairs = _feature_loss(loss_arguments.features, layers, student, teacher.network, batch.images)
        criteria["features"] = FeatureDistillation(
            loss,
            pairs,
            student,
            teacher,
            weight=loss_arguments.features_weight,
            warmup_epochs=loss_arguments.loss_warmup_epochs,
        )
    output = logits_of("student", student, batch.images)
    for field, criterion in criteria.items():
        _try(field, criterion.to(batch.images.device), output, batch)
    return [*criteria.values()]


def logits_of(field: str, network: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits (B, K) of the network in eval mode, then restore its mode.

    Raises:
        UsageError: the network fails, or its output is not logits.
    """
    training = network.training
    try:
        with torch.no_grad():
            return require_logits(field, network.eval()(images), len(images))
    except UsageError:
        raise
    except FAILURES as error:
        raise UsageError(f"{field} fails on images of shape {tuple(images.shape)}: {error}") from error
    finally:
        network.train(training)


def require_logits(field: str, output: Any, images: int) -> Tensor:
    """Return `output` if it is logits (B, K); `images` is B.

    Raises:
        UsageError: it is not.
    """
    if isinstance(output, Tensor) and output.ndim == 2 and len(output) == images:
        return output
    shown = (
        tuple(output.shape) if isinstance(output, Tensor) else f"an object of type {type(output).__name__}"
    )
    raise UsageError(
        f"{field} returns {shown} for {images} images; allowed: logits ({images}, K), one for each class.",
        "The network must return one tensor.",
    )


def _try(field: str, criterion: Criterion, output: Tensor, batch: Batch) -> None:
    """Call a criterion once, in eval mode; `field` is the argument that the criterion comes from."""
    try:
        with torch.no_grad():
            value = criterion.eval()(output, batch)
    except UsageError:
        raise
    except FAILURES as error:
        raise _cannot_be_called(field, error) from error
    if not (isinstance(value, Tensor) and value.ndim == 0):
        shown = (
            tuple(value.shape) if isinstance(value, Tensor) else f"an object of type {type(value).__name__}"
        )
        raise UsageError(
            f"{field} returns {shown}; allowed: {CALLS[field]}.", "Return the mean over the batch."
        )


def _loss(field: str, loss: Any, allowed: Sequence[str]) -> Any:
    """Return `loss`, or the loss of that name."""
    if not isinstance(loss, str):
        return loss
    if loss not in allowed:
        other = "features" if field == "loss" else "loss"
        elsewhere = loss in FEATURE_LOSSES or loss in LOGIT_LOSSES
        hint = f'Give it as {other}="{loss}".' if elsewhere else "See kdtool.list_losses()."
        raise UsageError(f"{field} is {loss!r}; allowed: {', '.join(allowed)}.", hint)
    return create_loss(loss, {})


def _feature_loss(
    features: Any,
    layers: tuple[Sequence[str], Sequence[str]],
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
) -> tuple[nn.Module, Pairs]:
    """Return the feature loss with its helper layers, and the pairs of feature stages that it compares."""
    build = _loss("features", features, [*FEATURE_LOSSES])
    try:
        pairs = _pairs(getattr(build, "func", build), layers, student, teacher, images)
        loss = build(*([pair[side].shape for pair in pairs] for side in (0, 1)))
    except ArgumentError as error:  # the losses call layers "stages" and features "name"
        texts = f"{error.argument or 'features'}{error.problem}", f"{error.advice} {error.example}".rstrip()
        message, hint = (text.replace("_stages", "_layers").replace("name=", "features=") for text in texts)
        raise UsageError(message, hint) from error
    except UsageError:
        raise
    except FAILURES as error:
        raise _cannot_be_called("features", error) from error
    if not isinstance(loss, nn.Module):
        raise UsageError(
            f"features returns an object of type {type(loss).__name__}; allowed: {CALLS['features']}."
        )
    return loss, pairs


def _pairs(
    loss: Any,
    layers: tuple[Sequence[str], Sequence[str]],
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
) -> Pairs:
    """Pair the stages of `layers`; if none is named, the stages that the loss chooses."""
    fields, networks = ("student_layers", "teacher_layers"), (student, teacher)
    if len(layers[0]) != len(layers[1]):
        raise UsageError(
            f"student_layers has {len(layers[0])} names, teacher_layers {len(layers[1])}; allowed: the "
            "same number of names, paired in order.",
            "Give both, or neither: then the loss chooses the layers.",
        )
    if layers[0]:
        student_stages, teacher_stages = (
            named_stages(network, names, images, field)
            for network, names, field in zip(networks, layers, fields, strict=True)
        )
        return list(zip(student_stages, teacher_stages, strict=True))
    known: list[list[FeatureStage]] = [known_stages(network, images) for network in networks]
    for field, network, stages in zip(fields, networks, known, strict=True):
        if not stages or not hasattr(loss, "choose"):
            names = [name for name, _ in network.named_modules() if name]
            raise UsageError(
                f"{field} is missing: kdtool cannot choose layers of {type(network).__name__} for this loss.",
                f"Name modules of both networks, such as {field}=[{names[len(names) // 2]!r}].",
            )
    chosen: Pairs = loss.choose(*known)
    return chosen


def _cannot_be_called(field: str, error: Exception) -> UsageError:
    return UsageError(
        f"{field} cannot be called as {CALLS[field]}: {error}", "kdtool.create_loss gives such a loss."
    )


def _described(argument: Any) -> str:
    """Return a text that identifies a function or a module by its name and its repr."""
    if isinstance(argument, partial):
        return f"{_described(argument.func)} {argument.keywords}"
    if isinstance(argument, nn.Module) or argument is None or isinstance(argument, str):
        return str(argument)
    named = argument if hasattr(argument, "__qualname__") else type(argument)
    return f"{named.__module__}.{named.__qualname__}"
