"""The content of the page: everything that the template needs, read from the files of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.screen import Screen
from kdtool.data.sources import digits
from kdtool.report.charts.chart import Chart, curves
from kdtool.report.charts.tradeoff import Point, trade_off
from kdtool.report.facts import Facts, facts_of
from kdtool.report.flips import Flips, flips_of
from kdtool.report.images import MistakeImage, images_of
from kdtool.report.int8 import Int8Facts, int8_facts
from kdtool.report.mistakes import (
    Cell,
    Confused,
    classes_of,
    confusion,
    most_confused,
    worst_mistakes,
)
from kdtool.report.others import OtherRun, compare_runs
from kdtool.report.reliability import ReliabilityCurve, reliability_chart, reliability_curve
from kdtool.report.verdict import NOT_JUDGED, VerdictText, in_words, unbroken
from kdtool.results.bench import ModelDifference, ModelResult, read_bench
from kdtool.results.history import read_history
from kdtool.results.predictions import ClassAccuracy, Predictions, class_accuracies, read_predictions
from kdtool.results.shipping import shipping_in_words
from kdtool.runs.folder import ROLES, RunFolder

MATRIX_LIMIT = 20  # classes; a larger matrix is not readable
PAIRS = 20
SCORES = 60
MISTAKES = 12
FLIPS = 20
CALIBRATED = ("teacher", "student", "student-int8")
TITLES = {
    "teacher": "Teacher",
    "student": "Student, distilled",
    "baseline": "Student without teacher",
    "probe": "Frozen, linear",
    "teacher-int8": "Teacher, INT8",
    "student-int8": "Student, INT8",
    "baseline-int8": "Student without teacher, INT8",
}


@dataclass(frozen=True)
class TrainingCurves:
    """The two curves of one network: a figure of the paper."""

    title: str
    charts: tuple[Chart, Chart]
    epochs: int
    best_epoch: int
    best_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Errors:
    """The mistakes of one model on the test images.

    Attributes:
        matrix: confusion matrix; empty for more than MATRIX_LIMIT classes.
        scores: accuracy on each class, lowest first, at most SCORES.
        without_images: why the mistakes have no images; empty if they have.
    """

    model: str
    n_images: int
    classes: tuple[str, ...]
    matrix: list[list[Cell]]
    pairs: list[Confused]
    scores: list[ClassAccuracy]
    with_teacher: bool
    images: list[MistakeImage]
    without_images: str


@dataclass(frozen=True)
class CalibratedModel:
    """The calibration of one model: how far its probabilities can be trusted."""

    title: str
    chart: Chart
    curve: ReliabilityCurve


@dataclass(frozen=True)
class Page:
    """The content of the whole report; missing inputs leave fields empty.

    Attributes:
        plumbing: True for the embedded digits, which prove no claim.
        void: True if the latencies mean nothing.
        reference: name of the model that latency ratios refer to.
        machine: processor that was measured, and its kind.
        int8: facts about the INT8 file of each model in `flips`.
        ship: sentences about the model to ship; empty if nothing was measured.
    """

    name: str
    title: str
    plumbing: bool
    verdict: VerdictText
    notes: tuple[str, ...]
    void: bool
    reference: str
    machine: str
    differences: tuple[ModelDifference, ...]
    models: tuple[ModelResult, ...]
    trade_offs: tuple[Chart, ...]
    trainings: tuple[TrainingCurves, ...]
    errors: Errors | None
    calibrated: tuple[CalibratedModel, ...]
    flips: tuple[Flips, ...]
    int8: Mapping[str, Int8Facts]
    others: tuple[OtherRun, ...]
    facts: Facts
    ship: tuple[str, ...] = ()


def gather(run: RunFolder, screen: Screen, others: Sequence[RunFolder] = ()) -> Page:
    """Read the files of the run, and those of the other runs for the table.

    Raises:
        UsageError: the folder is not a run, or its bench.json is broken.
        DataError: a history or predictions.csv is broken.
    """
    bench = read_bench(run.bench) if run.bench.exists() else None
    # A device may have only the models of a run and the files that bench wrote about them.
    record = {} if bench and not run.record.exists() else run.read_record()
    recipe = record.get("recipe", {})
    roles = [role for role in ROLES if (run.role(role) / "history.csv").is_file()]
    predictions = read_predictions(run.predictions) if run.predictions.is_file() else None
    flips = tuple(
        model_flips for role in ROLES if predictions and (model_flips := flips_of(predictions, role))
    )
    measured = bench.models if bench else ()
    return Page(
        name=run.path.resolve().name,
        title=str(recipe.get("title", "")),
        plumbing=record.get("source") == digits.NAME,
        verdict=in_words(bench) if bench else NOT_JUDGED,
        notes=bench.notes if bench else (),
        void=bool(bench and bench.void),
        reference=bench.claim.reference if bench else "",
        machine=str(bench.host) if bench else "",
        differences=bench.differences if bench else (),
        models=measured,
        trade_offs=_trade_offs(bench.models, timed=not bench.void) if bench else (),
        trainings=tuple(_training(run, role) for role in roles),
        errors=_errors(run, predictions, screen) if predictions else None,
        calibrated=_calibrated(predictions) if predictions else (),
        flips=flips,
        int8={each.model: int8_facts(run, each.model, measured) for each in flips},
        others=compare_runs(run, others),
        ship=tuple(map(unbroken, shipping_in_words(bench, Path(run.path.name)))) if bench else (),
        facts=facts_of(record, bench.host.to_json() if bench else {}, baseline="baseline" in roles),
    )


def title_of(name: str) -> str:
    """Return the name of a model on the page."""
    return TITLES.get(name, name)


def _training(run: RunFolder, role: str) -> TrainingCurves:
    history = read_history(run.role(role) / "history.csv")
    return TrainingCurves(
        title=title_of(role),
        charts=curves(history),
        epochs=len(history.epochs),
        best_epoch=history.epochs[history.best],
        best_accuracy=history.validation_accuracy[history.best],
        seconds=sum(history.seconds),
    )


def _trade_offs(models: Sequence[ModelResult], *, timed: bool) -> tuple[Chart, ...]:
    latencies = [(model, model.latency_ms.p50 if timed else None) for model in models]
    computes = [(model, model.macs / 1e9 if model.macs else None) for model in models]
    charts = []
    sizes = [(model, model.size_bytes / 1e6) for model in models]
    for title, x_name, costs in (
        ("Accuracy and latency", "Latency p50, ms", latencies),
        ("Accuracy and compute", "Compute, GMACs", computes),
        ("Accuracy and size", "File, MB", sizes),
    ):
        points = [
            Point(
                title_of(model.name),
                f"{model.role or ''} {model.precision or ''}",
                cost,
                model.accuracy,
                *model.accuracy_ci,
            )
            for model, cost in costs
            if cost and model.accuracy is not None and model.accuracy_ci is not None
        ]
        if len(points) > 1:
            charts.append(trade_off(title, x_name, points))
    return tuple(charts)


def _calibrated(predictions: Predictions) -> tuple[CalibratedModel, ...]:
    models = []
    for name in CALIBRATED:
        outputs = predictions.models.get(name)
        if outputs is not None:
            title, curve = title_of(name), reliability_curve(predictions.labels, outputs)
            chart = reliability_chart(title, name.replace("-", " "), curve)
            models.append(CalibratedModel(title, chart, curve))
    return tuple(models)


def _errors(run: RunFolder, predictions: Predictions, screen: Screen) -> Errors:
    model = "student" if "student" in predictions.models else next(iter(predictions.models))
    outputs = predictions.models[model]
    teacher = predictions.models.get("teacher") if model != "teacher" else None
    classes = classes_of(predictions, outputs)
    mistakes = worst_mistakes(predictions, outputs, MISTAKES)
    images, without = images_of(run, mistakes, screen)
    small = len(classes) <= MATRIX_LIMIT
    return Errors(
        model=title_of(model),
        n_images=len(predictions.paths),
        classes=classes,
        matrix=confusion(predictions.labels, outputs, classes) if small else [],
        pairs=most_confused(predictions.labels, outputs, PAIRS),
        scores=class_accuracies(predictions.labels, outputs, teacher)[:SCORES],
        with_teacher=teacher is not None,
        images=images,
        without_images=without,
    )
