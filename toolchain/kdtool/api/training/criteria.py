"""What a network of a caller minimizes, made of the arguments of `kdtool.distill` and tried on one batch."""

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

FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError)  # of code that a caller brings
CALLS = {
    "loss": "(student_logits, teacher_logits, target) → scalar",
    "features": "(student_shapes, teacher_shapes) → torch module, called with the features of both → scalar",
}


class Objective(BaseModel):
    """What is minimized: arguments of `kdtool.distill`."""

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
        """As JSON, functions and modules by what they say of themselves."""
        callables = ("loss", "features", "teacher_input")
        own = self.model_dump(mode="json", exclude=set(callables))
        return own | {name: _described(getattr(self, name)) for name in callables}


def terms_of(
    objective: Objective, student: nn.Module, teacher: OnlineTeacher, batch: Batch
) -> list[Criterion]:
    """The loss on logits, with the cross-entropy, and the loss on features if there is one; each tried once.

    Raises:
        UsageError: an argument is wrong.
    """
    logits = Distillation(
        _loss("loss", objective.loss, [*LOGIT_LOSSES]),
        teacher,
        weight=objective.weight,
        ce_weight=objective.ce_weight,
        warmup_epochs=objective.loss_warmup_epochs,
        label_smoothing=objective.label_smoothing,
    )
    terms: dict[str, Criterion] = {"loss": logits}
    if objective.features is not None:
        layers = objective.student_layers, objective.teacher_layers
        loss, pairs = _compared(objective.features, layers, student, teacher.network, batch.images)
        terms["features"] = FeatureDistillation(
            loss,
            pairs,
            student,
            teacher,
            weight=objective.features_weight,
            warmup_epochs=objective.loss_warmup_epochs,
        )
    output = logits_of("student", student, batch.images)
    for field, term in terms.items():
        _try(field, term.to(batch.images.device), output, batch)
    return [*terms.values()]


def logits_of(field: str, network: nn.Module, images: Tensor) -> Tensor:
    """The logits (B, K) of the network, in eval mode, which it leaves afterwards.

    Raises:
        UsageError: it fails, or gives something else.
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
    """The output, if it is logits (B, K) of B `images`.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(output, Tensor) and output.ndim == 2 and len(output) == images:
        return output
    shown = (
        tuple(output.shape) if isinstance(output, Tensor) else f"an object of type {type(output).__name__}"
    )
    raise UsageError(
        f"{field} gives {shown} for {images} images; allowed: logits ({images}, K), one for each class.",
        "Let the network give one tensor.",
    )


def _try(field: str, criterion: Criterion, output: Tensor, batch: Batch) -> None:
    """Call a criterion once, in eval mode; `field` is the argument that it is made of."""
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
        raise UsageError(f"{field} gives {shown}; allowed: {CALLS[field]}.", "Take the mean over the batch.")


def _loss(field: str, loss: Any, allowed: Sequence[str]) -> Any:
    """The loss itself where `loss` is its name."""
    if not isinstance(loss, str):
        return loss
    if loss not in allowed:
        other = "features" if field == "loss" else "loss"
        elsewhere = loss in FEATURE_LOSSES or loss in LOGIT_LOSSES
        hint = f'Give it as {other}="{loss}".' if elsewhere else "See kdtool.list_losses()."
        raise UsageError(f"{field} is {loss!r}; allowed: {', '.join(allowed)}.", hint)
    return create_loss(loss, {})


def _compared(
    features: Any,
    layers: tuple[Sequence[str], Sequence[str]],
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
) -> tuple[nn.Module, Pairs]:
    """The loss `features` with its helper layers, and what it compares."""
    own = _loss("features", features, [*FEATURE_LOSSES])
    try:
        pairs = _pairs(getattr(own, "func", own), layers, student, teacher, images)
        loss = own(*([pair[side].shape for pair in pairs] for side in (0, 1)))
    except ArgumentError as error:  # the losses call layers stages, and their own names "name"
        said = f"{error.argument or 'features'}{error.problem}", f"{error.advice} {error.example}".rstrip()
        message, hint = (text.replace("_stages", "_layers").replace("name=", "features=") for text in said)
        raise UsageError(message, hint) from error
    except UsageError:
        raise
    except FAILURES as error:
        raise _cannot_be_called("features", error) from error
    if not isinstance(loss, nn.Module):
        raise UsageError(
            f"features gives an object of type {type(loss).__name__}; allowed: {CALLS['features']}."
        )
    return loss, pairs


def _pairs(
    loss: Any,
    layers: tuple[Sequence[str], Sequence[str]],
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
) -> Pairs:
    fields, networks = ("student_layers", "teacher_layers"), (student, teacher)
    if len(layers[0]) != len(layers[1]):
        raise UsageError(
            f"student_layers has {len(layers[0])} names, teacher_layers {len(layers[1])}; allowed: as many "
            "of one as of the other, paired in order.",
            "Name both, or neither for the choice of the loss.",
        )
    if layers[0]:
        own, wanted = (
            named_stages(network, names, images, field)
            for network, names, field in zip(networks, layers, fields, strict=True)
        )
        return list(zip(own, wanted, strict=True))
    offered: list[list[FeatureStage]] = [known_stages(network, images) for network in networks]
    for field, network, stages in zip(fields, networks, offered, strict=True):
        if not stages or not hasattr(loss, "choose"):
            names = [name for name, _ in network.named_modules() if name]
            raise UsageError(
                f"{field} is missing: kdtool cannot choose layers of {type(network).__name__} for this loss.",
                f"Name modules of both networks, such as {field}=[{names[len(names) // 2]!r}].",
            )
    chosen: Pairs = loss.choose(*offered)
    return chosen


def _cannot_be_called(field: str, error: Exception) -> UsageError:
    return UsageError(
        f"{field} cannot be called as {CALLS[field]}: {error}", "kdtool.create_loss gives such a loss."
    )


def _described(own: Any) -> str:
    """What identifies a function or a module, as far as it says so of itself."""
    if isinstance(own, partial):
        return f"{_described(own.func)} {own.keywords}"
    if isinstance(own, nn.Module) or own is None or isinstance(own, str):
        return str(own)
    named = own if hasattr(own, "__qualname__") else type(own)
    return f"{named.__module__}.{named.__qualname__}"
