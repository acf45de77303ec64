"""Measuring a set of models together: the part that runs and loose files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kdtool.benchmark.candidates import Candidate, Cost, TestImages, costs_of
from kdtool.benchmark.notes import (
    accuracy_notes,
    finetuned_notes,
    input_notes,
    latency_notes,
    stability_notes,
    start_notes,
    target_notes,
)
from kdtool.benchmark.pairs import differences_of, gain_of
from kdtool.benchmark.timing.conditions import Watch, latency_reasons, throughput_reasons
from kdtool.benchmark.timing.protocol import Measured, against, measure_in_turns
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import FINETUNED
from kdtool.core.screen import Screen
from kdtool.machine.host import read_host
from kdtool.machine.packages import versions_of
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult, ModelResult
from kdtool.results.claim import Verdict, judge
from kdtool.results.measures import Resampling, Side
from kdtool.results.statistics import BoolArray, Concordance, paired_bootstrap, wilson
from kdtool.runtime.classify import Classified, logits_of
from kdtool.runtime.session import Session

SEED = 0  # of the resamples, so that the same answers give the same interval


def measure_all(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    screen: Screen,
    count: Callable[[Path], Cost | None] | None = None,
) -> tuple[BenchResult, Mapping[str, Classified]]:
    """Accuracy of each model, latency of all in turns, and the verdict on teacher and student.

    Args:
        count: (params, MACs) of a file that does not state them.

    Returns:
        The result, and name → answers to the test images.
    """
    _require_names(candidates, settings)
    host = read_host()
    host = replace(host, versions=dict(host.versions) | versions_of(settings.runtimes))
    answers, correct = {}, {}
    for one in candidates:
        if one.images is not None:
            answers[one.name] = _answers(one.session, one.images, screen, one.name)
            correct[one.name] = answers[one.name].correct(one.images.labels)
    watch = Watch()
    measured = measure_in_turns(candidates, settings, screen, watch.look)
    watch.end()
    timed = {one.name: found for one, found in zip(candidates, measured, strict=True)}
    models = tuple(
        _result(one, correct, cost, timed[one.name], timed.get(settings.reference), settings)
        for one, cost in zip(candidates, costs_of(candidates, count), strict=True)
    )
    void = watch.void()
    unstable = (
        *watch.reasons(host),
        *latency_reasons([(model.name, one) for model in models for one in model.latencies]),
        *throughput_reasons([(model.name, one) for model in models for one in model.throughputs]),
    )
    notes = (
        *stability_notes(void, unstable),
        *accuracy_notes(models),
        *(latency_notes(models, host) if not void else ()),
        *start_notes({name: found.failure for name, found in timed.items()}),
        *target_notes(models, host),
        *finetuned_notes(models),
        *input_notes(candidates, batches=settings.batch > 1),
    )
    result = BenchResult(
        host,
        models,
        _claim(models, correct, settings, timed=not void),
        gain_of(correct),
        notes,
        tuple(watch.moments),
        unstable,
        void,
        differences_of(correct, settings.resamples, SEED),
    )
    return result, answers


def _answers(session: Session, test: TestImages, screen: Screen, name: str) -> Classified:
    logits = logits_of(
        session, test.images, test.preprocess, test.classes, screen=screen, title=f"accuracy {name}"
    )
    return Classified.of(logits)


def _result(
    candidate: Candidate,
    correct: Mapping[str, BoolArray],
    cost: Cost | None,
    measured: Measured,
    reference: Measured | None,
    settings: BenchSettings,
) -> ModelResult:
    """What was found of a model, held against the reference."""
    own, other = correct.get(candidate.name), correct.get(settings.reference)
    right, images = (int(own.sum()), len(own)) if own is not None else (0, 0)
    retention = retention_ci = None
    if own is not None and other is not None:
        retention = Concordance.of(own, other).retention
        retention_ci = paired_bootstrap(own, other, settings.resamples, SEED)
    if candidate.name == settings.reference and retention is not None:
        retention_ci = (1.0, 1.0)  # of itself, by definition
    path, info = candidate.session.path, candidate.session.info
    if reference is not None:
        measured = against(measured, reference, SEED)
    return ModelResult(
        name=candidate.name,
        role=candidate.role,
        precision=candidate.precision,
        accuracy=right / images if images else None,
        accuracy_ci=wilson(right, images) if images else None,
        n_images=images or None,
        retention=retention,
        retention_ci=retention_ci,
        params=cost[0] if cost else None,
        macs=cost[1] if cost else None,
        size_bytes=path.stat().st_size,
        latency_ms=measured.latencies[0],
        file=path.name,
        sha256=sha256_file(path),
        runtime=candidate.runtime,
        target=info.notes.get("target") if info is not None else None,
        finetuned=info.notes.get(FINETUNED) if info is not None else None,
        other_threads=measured.latencies[1:],
        throughput=next(iter(measured.throughputs), None),
        other_throughputs=measured.throughputs[1:],
        own_process=measured.own_process,
    )


def _claim(
    models: Sequence[ModelResult], correct: Mapping[str, BoolArray], settings: BenchSettings, *, timed: bool
) -> Verdict:
    """The verdict on the model that the claim is about; without times where they are void."""
    sides = {
        model.name: Side(
            correct.get(model.name),
            model.params,
            model.macs,
            model.size_bytes,
            model.latency_ms.samples if timed else (),
            model.throughput.batch_ms if model.throughput and timed else (),
        )
        for model in models
    }
    names = (settings.judged, settings.reference)
    how = Resampling(settings.resamples, SEED)
    return judge(settings.bounds, sides.get(names[0]), sides.get(names[1]), how, names)


def _require_names(candidates: Sequence[Candidate], settings: BenchSettings) -> None:
    """Raises UsageError where the claim is about a model that somebody named and that is not here."""
    known = [candidate.name for candidate in candidates]
    usual = BenchSettings()
    for option, name, default in (
        ("judge", settings.judged, usual.judged),
        ("against", settings.reference, usual.reference),
    ):
        if name not in known and name != default:
            raise UsageError(
                f"The claim is about {name!r}, which is not measured; allowed: {', '.join(known)}.",
                f"Name one of them: kdtool bench --{option} NAME",
            )
