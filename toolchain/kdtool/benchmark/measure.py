"""Measure a set of models together: the part that runs and loose files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from kdtool.benchmark.timing.protocol import Timings, measure_in_turns, relative_to
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import FINETUNED
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.machine.host import read_host
from kdtool.machine.packages import versions_of
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult, ModelResult
from kdtool.results.claim import Bound, Verdict, judge
from kdtool.results.classes import CLASS_MEASURES, Answers
from kdtool.results.health import fault_of
from kdtool.results.measures import Resampling, Side
from kdtool.results.statistics.accuracy import Concordance, paired_bootstrap, wilson
from kdtool.results.statistics.estimate import BoolArray
from kdtool.runtime.classify import Classified, logits_of

SEED = 0  # seed of the resamples, so that equal predictions give equal intervals


def measure_all(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    screen: Screen,
    count: Callable[[Path], Cost | None] | None = None,
    bounds: Sequence[Bound] = (),
) -> tuple[BenchResult, Mapping[str, Classified]]:
    """Measure the accuracy of each model and the latency of all in turns; judge the claim.

    Args:
        count: function that finds (params, MACs) of a file that does not state them.
        bounds: the claim; without bounds there is no verdict.

    Returns:
        The result, and name → predictions for the test images.
    """
    _require_names(candidates, settings)
    host = read_host()
    host = replace(host, versions=dict(host.versions) | versions_of(settings.runtimes))
    classified, correct, answers = {}, {}, {}
    for candidate in candidates:
        if candidate.images is not None:
            name, labels = candidate.name, candidate.images.labels
            classified[name] = _classify(candidate, candidate.images, screen)
            correct[name] = classified[name].correct(labels)
            answers[name] = Answers(labels, classified[name].predicted, candidate.images.classes)
    for candidate in candidates:  # a session opens the models anew; a small device has memory for them once
        candidate.session.close()
    watch = Watch()
    names = [candidate.name for candidate in candidates]
    timings = dict(zip(names, measure_in_turns(candidates, settings, screen, watch.look), strict=True))
    watch.end()
    models = tuple(
        replace(
            _result(
                candidate, correct, cost, timings[candidate.name], timings.get(settings.reference), settings
            ),
            **_class_figures(candidate, answers.get(candidate.name)),
        )
        for candidate, cost in zip(candidates, costs_of(candidates, count), strict=True)
    )
    void = watch.void()
    unstable = (
        *watch.reasons(host),
        *latency_reasons([(model.name, latency) for model in models for latency in model.latencies]),
        *throughput_reasons([(model.name, series) for model in models for series in model.throughputs]),
    )
    notes = (
        *stability_notes(void, unstable),
        *accuracy_notes(models),
        *(latency_notes(models, host) if not void else ()),
        *start_notes({name: timing.failure for name, timing in timings.items()}),
        *target_notes(models, host),
        *finetuned_notes(models),
        *input_notes(candidates, batches=settings.batch > 1),
    )
    result = BenchResult(
        host,
        models,
        _claim(models, correct, answers, settings, bounds, timed=not void),
        gain_of(correct),
        notes,
        tuple(watch.moments),
        unstable,
        void,
        differences_of(correct, settings.resamples, SEED),
    )
    return result, classified


def _classify(candidate: Candidate, test: TestImages, screen: Screen) -> Classified:
    title = f"accuracy {candidate.name}"
    logits = logits_of(
        candidate.session, test.images, test.preprocess, test.classes, screen=screen, title=title
    )
    return Classified.of(logits)


def _result(
    candidate: Candidate,
    correct: Mapping[str, BoolArray],
    cost: Cost | None,
    timings: Timings,
    reference_timings: Timings | None,
    settings: BenchSettings,
) -> ModelResult:
    """Collect the measurements of a model and their ratios to the reference."""
    hits, reference_hits = correct.get(candidate.name), correct.get(settings.reference)
    right, images = (int(hits.sum()), len(hits)) if hits is not None else (0, 0)
    retention = retention_ci = None
    if hits is not None and reference_hits is not None:
        retention = Concordance.of(hits, reference_hits).retention
        retention_ci = paired_bootstrap(hits, reference_hits, settings.resamples, SEED)
    if candidate.name == settings.reference and retention is not None:
        retention_ci = (1.0, 1.0)  # the reference retains all of its own accuracy, by definition
    path, info = candidate.session.path, candidate.session.info
    if reference_timings is not None:
        timings = relative_to(timings, reference_timings)
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
        latency_ms=timings.latencies[0],
        file=path.name,
        sha256=sha256_file(path),
        runtime=candidate.runtime,
        target=info.notes.get("target") if info is not None else None,
        finetuned=info.notes.get(FINETUNED) if info is not None else None,
        other_threads=timings.latencies[1:],
        throughput=next(iter(timings.throughputs), None),
        other_throughputs=timings.throughputs[1:],
        own_process=timings.own_process,
    )


def _class_figures(candidate: Candidate, answers: Answers | None) -> dict[str, Any]:
    """Figures of a model that count every class alike, and its fault; empty without test images."""
    if answers is None:
        return {}
    info = candidate.session.info
    fault = fault_of(answers.tally, info.classes if info is not None else ())
    figures: dict[str, Any] = {"fault": fault}
    for name in CLASS_MEASURES:
        figures |= {name: getattr(answers.tally, name), f"{name}_ci": answers.interval(name, seed=SEED)}
    return figures


def _claim(
    models: Sequence[ModelResult],
    correct: Mapping[str, BoolArray],
    answers: Mapping[str, Answers],
    settings: BenchSettings,
    bounds: Sequence[Bound],
    *,
    timed: bool,
) -> Verdict:
    """Judge the claim; void times are left out."""
    sides = {
        model.name: Side(
            correct=correct.get(model.name),
            answers=answers.get(model.name),
            params=model.params,
            macs=model.macs,
            size_bytes=model.size_bytes,
            latencies=model.latency_ms.by_session if timed else (),
            batches=model.throughput.by_session if model.throughput and timed else (),
        )
        for model in models
    }
    names = (settings.judged, settings.reference)
    resampling = Resampling(settings.resamples, SEED)
    return judge(bounds, sides.get(names[0]), sides.get(names[1]), resampling, names)


def _require_names(candidates: Sequence[Candidate], settings: BenchSettings) -> None:
    """Raise UsageError if the user named a model for the claim that is not among the candidates."""
    known = [candidate.name for candidate in candidates]
    defaults = BenchSettings()
    for field, name, default in (
        ("bench.judged", settings.judged, defaults.judged),
        ("bench.reference", settings.reference, defaults.reference),
    ):
        if name not in known and name != default:
            raise UsageError(
                f"The claim is about {name!r}, which is not measured; allowed: {', '.join(known)}.",
                f"Name one of them: {assigned({field: 'NAME'})}",
            )
