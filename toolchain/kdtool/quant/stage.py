"""The stage quantize: INT8 of teacher and student, through the accuracy gate.

quantize_models → (the student loses too much: finetune → export_finetuned → quantize_finetuned)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from kdtool.calibration.ranges import REVISION
from kdtool.core.errors import GateError, UsageError
from kdtool.core.files import durable, sha256_file
from kdtool.core.modelinfo import FINETUNED
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.data.reader import Prepared
from kdtool.machine.cpu import INT8_WORTH_IT, int8_target
from kdtool.machine.packages import versions_of
from kdtool.quant.attempt import NAME, Attempt, JobContext, better_finetuned, calibrated, with_fp32_layers
from kdtool.quant.maker import PRECISION, VERSIONS
from kdtool.quant.speed import Speed, speed_of_file, this_machine
from kdtool.quant.target import int8_scheme
from kdtool.recipe.choices import Int8Target
from kdtool.recipe.settings import QuantizeSettings
from kdtool.results.figures import resized
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import sealed_models
from kdtool.runs.soundness import require_sound
from kdtool.runs.stage import Stage

STUDENT: Final = "student"  # the role that may be fine-tuned
ROLES = ("teacher", STUDENT)
Facts = dict[str, Any]


class TooLossyError(Exception):
    """Loss of accuracy because of which an INT8 model must not be written.

    Attributes:
        final: False if the student may still be fine-tuned.
    """

    def __init__(self, path: Path, attempt: Attempt, final: bool) -> None:
        super().__init__(path)
        self.path, self.attempt, self.final = path, attempt, final


@dataclass(frozen=True)
class Outcome:
    """Result of the stage.

    Attributes:
        models: role → the facts of its INT8 model, or the error because of which there is none.
    """

    context: JobContext
    models: Mapping[str, Facts | TooLossyError]

    @property
    def facts(self) -> dict[str, Facts]:
        """Role → the facts of each model that was written."""
        return {role: model for role, model in self.models.items() if isinstance(model, dict)}

    @property
    def to_finetune(self) -> Attempt | None:
        """The student's INT8 model, if it loses too much and was not fine-tuned yet."""
        student = self.models.get(STUDENT)
        return student.attempt if isinstance(student, TooLossyError) and not student.final else None


def quantize_models(
    run: RunFolder, prepared: Prepared, settings: QuantizeSettings, screen: Screen
) -> Outcome:
    """Write `run.onnx_model(role, "int8")` of teacher and student.

    Images of the training split calibrate; the accuracy is measured on the validation split. A model is
    skipped if it is complete with the same FP32 model, data, settings and kind of processor. If one model
    loses too much accuracy, the other is written all the same. With `settings.finetune`, a student that loses
    too much is not written yet: fine-tune it and call `quantize_finetuned`.

    Raises:
        UsageError: the models are not exported yet, or were exported from older weights.
        GateError: the student loses more accuracy than `settings.max_drop`, or the teacher of a run without
            a student (all are named); their files are not written.
    """
    require_current(run, NAME)
    require_sound(run)
    roles = _exported_roles(run)
    this_kind = int8_target()
    target = this_kind if settings.target == Int8Target.AUTO else settings.target
    scheme = int8_scheme(target, settings.reduce_range)
    context = JobContext(run, prepared, settings, scheme, target == this_kind, screen)
    screen.say(f"{NAME}: for {target}: {scheme} ({scheme.reason})")
    if not context.on_target:
        screen.warn(
            f"The INT8 models are made for {target}, this machine is {this_kind}: the accuracy may be "
            f"different there, and speed is not measured here. Measure both there: {_measure(target)}"
        )
    return _passed(Outcome(context, {role: _quantize(context, role) for role in roles}))


def quantize_finetuned(begun: Outcome, source: Path) -> Outcome:
    """Write the student's INT8 model, from its fine-tuned weights if these make it more accurate.

    Args:
        begun: result of `quantize_models`, with a student to fine-tune.
        source: the FP32 ONNX file of the fine-tuned student.

    Raises:
        GateError: models of either call lose more accuracy than allowed (all are named).
    """
    student = _quantize(begun.context, STUDENT, begun.to_finetune, source)
    return _passed(replace(begun, models={**begun.models, STUDENT: student}))


def _passed(outcome: Outcome) -> Outcome:
    """Return `outcome`; raise GateError if the model to ship loses too much and fine-tuning cannot help.

    That is the student. Beside a student, a teacher that loses too much is only said: nobody ships it.
    """
    failed = {role: model for role, model in outcome.models.items() if isinstance(model, TooLossyError)}
    if not failed or outcome.to_finetune:
        return outcome
    error = _gate_error(list(failed.values()), outcome.context.settings)
    if STUDENT in failed or STUDENT not in outcome.models:
        raise error
    outcome.context.screen.say(f"{error.message} The teacher has no INT8 file; the student has one.")
    return outcome


def _quantize(
    context: JobContext, role: str, previous: Attempt | None = None, finetuned: Path | None = None
) -> Facts | TooLossyError:
    """Quantize one model, or skip it if it is complete.

    Args:
        previous: the attempt without fine-tuning, if the student was fine-tuned since.
        finetuned: the FP32 file of the fine-tuned student.
    """
    if role == "teacher":
        context = replace(context, prepared=context.prepared.for_teacher)
    target = context.run.onnx_model(role, PRECISION)
    stage = Stage(
        name=NAME,
        folder=context.run.onnx,
        inputs={
            "settings": context.settings.model_dump(mode="json"),
            "data": context.prepared.digest,
            "versions": versions_of(VERSIONS),
            "model": sha256_file(context.run.onnx_model(role)),
            "recipe": str(context.scheme),
            "ranges": REVISION,
        },
        manifest_name=context.run.quantize_manifest(role).name,
    )
    done = stage.complete()
    if done is not None:
        context.screen.say(f"{NAME}: {role}: complete, skipped")
        facts = dict(done.result)
    else:
        stage.reopen()
        target.unlink(missing_ok=True)
        try:
            facts = _write(context, role, target, previous, finetuned)
        except TooLossyError as error:
            return error
        stage.seal([target.name], facts, versions_of(VERSIONS))
    _judge_speed(context, role, Speed.from_json(facts["speed"]) if facts["speed"] else None)
    return facts


def _write(
    context: JobContext, role: str, target: Path, previous: Attempt | None, finetuned: Path | None
) -> Facts:
    """Write one INT8 model and return its facts; raise TooLossyError if it loses too much."""
    settings, source = context.settings, context.run.onnx_model(role)
    with durable(target) as partial:
        if previous and finetuned:
            attempt = better_finetuned(context, role, previous, finetuned, partial)
        else:
            attempt = calibrated(context, role, source, partial)
            if settings.finetune and role == STUDENT:
                _leave_to_finetuning(context, attempt, target)
        if settings.float_layers and not attempt.passes(settings.max_drop):
            validation = context.prepared.split("validation")
            title = f"{NAME}: {role}"
            attempt = with_fp32_layers(attempt, validation, settings, partial, title, context.screen)
        if not attempt.passes(settings.max_drop):
            raise TooLossyError(target, attempt, final=True)
        speed = None
        if context.on_target:
            speed = speed_of_file(partial, source, attempt.maker.images.evenly(1), context.screen)
    before, after = attempt.before, attempt.after
    epochs = attempt.maker.info.notes.get(FINETUNED)
    tuned = f", fine-tuned ({epochs})" if epochs else ""
    sizes = resized(source.stat().st_size, target.stat().st_size)
    context.screen.say(
        f"{NAME}: {target}{tuned}, {sizes}; validation accuracy {before} → {after} "
        f"({after.percent - before.percent:+.2f} percentage points, {before.images} images) on "
        f"{this_machine()}"
    )
    scheme = attempt.choice.scheme
    facts: Facts = {
        "accuracy_before": before.percent / 100,
        "accuracy_after": after.percent / 100,
        "n_images": before.images,
        "measured_on": this_machine(),
        "calibration": attempt.choice.calibration,
        "calibration_images": len(attempt.maker.images),
        "size_bytes": target.stat().st_size,
        "recipe": {"target": scheme.target, "description": str(scheme), "reason": scheme.reason},
        "float_layers": [layer.name for layer in attempt.fp32_layers],
        "put_back": [asdict(layer) for layer in attempt.fp32_layers],
        "finetuned": epochs is not None,
        "finetuning": epochs,
        "speed": speed.to_json() if speed is not None else None,
    }
    if attempt.searched is not None:
        facts["search"] = [trial.to_json() for trial in attempt.searched.trials]
    return facts


def _leave_to_finetuning(context: JobContext, attempt: Attempt, target: Path) -> None:
    """Raise TooLossyError if calibration alone loses too much, so that the student is fine-tuned."""
    allowed, drop = context.settings.max_drop, attempt.drop
    if attempt.passes(allowed):
        context.screen.say(
            f"{NAME}: {STUDENT}: fine-tuning is not needed: INT8 loses {max(drop, 0.0):.2f} percentage "
            f"points, allowed is {allowed:g}"
        )
        return
    context.screen.say(
        f"{NAME}: {STUDENT}: INT8 loses {drop:.2f} percentage points, allowed is {allowed:g}; "
        "fine-tuning for INT8"
    )
    raise TooLossyError(target, attempt, final=False)


def _judge_speed(context: JobContext, role: str, speed: Speed | None) -> None:
    """Say whether INT8 is worth it, also for a model that was complete before."""
    path, target = context.run.onnx_model(role, PRECISION), context.scheme.target
    if speed is None:
        context.screen.say(
            f"{NAME}: {role}: made for {target} on another kind of processor, so its speed is unknown. "
            f"Measure it there: {_measure(target)}"
        )
        return
    elsewhere = speed.machine != this_machine()
    measure = f" To measure it on {this_machine()}: kdtool bench {context.run.path}" if elsewhere else ""
    if speed.worth_it:
        context.screen.say(f"{NAME}: {role}: INT8 is {speed}.{measure}")
    else:
        context.screen.warn(
            f"{path}: INT8 is {speed}. It is not certainly {INT8_WORTH_IT:g} times as fast or more. "
            f"On {'that' if elsewhere else 'this'} machine ship the float32 model, "
            f"{context.run.onnx_model(role)}, unless size matters.{measure}"
        )


def _measure(target: str) -> str:
    """Name the command that measures on a processor of this kind."""
    return "kdtool bundle, then kdtool serve" if target == Int8Target.WEB else "kdtool bench"


def _exported_roles(run: RunFolder) -> tuple[str, ...]:
    """Return the exported roles; raise UsageError if a trained role is not exported."""
    sealed = sealed_models(run)
    started = (*run.trained_roles(), *(role for role in ROLES if run.export_manifest(role).is_file()))
    missing = [role for role in ROLES if role in started and (role, "fp32") not in sealed]
    if missing:
        raise UsageError(
            f"{run.path}: no complete export of {' and '.join(missing)} to quantize.",
            f"Export first: kdtool export --onnx {run.path}",
        )
    roles = tuple(role for role in ROLES if (role, "fp32") in sealed)
    if not roles:
        raise UsageError(
            f"{run.path}: neither teacher nor student is exported.",
            f"Train and export first: kdtool run DATA --out {run.path}",
        )
    return roles


def _gate_error(failed: Sequence[TooLossyError], settings: QuantizeSettings) -> GateError:
    """Return one error for all models that lose too much; its hint fits the worst of them."""
    lines = [
        f"{error.path}: INT8 loses {error.attempt.drop:.2f} percentage points of validation accuracy "
        f"({error.attempt.before} → {error.attempt.after} of {error.attempt.before.images} images), "
        f"allowed is {settings.max_drop:g} (quantize.max_drop)."
        + (f" It is of no use: {error.attempt.after.fault}." if error.attempt.after.fault else "")
        for error in failed
    ]
    worst = max(error.attempt.drop for error in failed)
    return GateError(
        "\n".join(lines),
        f"Try a search ({assigned({'quantize.search': True})}) or more calibration images "
        f"({assigned({'quantize.calibration_images': 2 * settings.calibration_images})}), "
        f"accept the loss ({assigned({'quantize.max_drop': math.ceil(10 * worst) / 10})}), "
        "or ship the float32 model.",
    )
