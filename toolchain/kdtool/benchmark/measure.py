"""Measuring a set of models together: the part that runs and loose files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdtool.benchmark.accuracy import Answered, answer
from kdtool.benchmark.costs import Cost, costs_of
from kdtool.benchmark.notes import (
    accuracy_notes,
    finetuned_notes,
    latency_notes,
    stability_notes,
    start_notes,
    target_notes,
)
from kdtool.benchmark.pairs import differences_of, gain_of
from kdtool.benchmark.timing.conditions import Watch, latency_reasons, throughput_reasons
from kdtool.benchmark.timing.latency import latency_against, throughput_against
from kdtool.benchmark.timing.protocol import Candidate, Measured, measure_in_turns
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import FINETUNED
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.data.photographs import Images
from kdtool.machine.host import Host, read_host
from kdtool.machine.packages import versions_of
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult, ModelResult
from kdtool.results.claim import Verdict, judge
from kdtool.results.measures import Resampling, Side
from kdtool.results.statistics import (
    BoolArray,
    Concordance,
    paired_bootstrap,
    wilson,
)
from kdtool.runtime import DEFAULT
from kdtool.runtime.ports import Tensor
from kdtool.runtime.session import Session, input_size

SEED = 0  # of the resamples, so that the same answers give the same interval
FREE_SIDE = 224  # of an input whose file leaves the side open and says nothing of its own


@dataclass(frozen=True)
class Pictures:
    """Test images as one model wants them: (N, S, S, 3) uint8, and their labels as its class indices."""

    images: Images
    labels: npt.NDArray[np.int64]
    preprocess: Preprocess
    classes: int


@dataclass(frozen=True)
class Subject:
    """A loaded model and what it is to be measured on; pictures of all subjects are in the same order."""

    name: str
    role: str | None
    precision: str | None
    session: Session
    pictures: Pictures | None
    runtime: str = DEFAULT


def measure_all(
    subjects: Sequence[Subject],
    settings: BenchSettings,
    screen: Screen,
    count: Callable[[Path], Cost | None] | None = None,
) -> tuple[BenchResult, Mapping[str, Answered]]:
    """Accuracy of each model, latency of all in turns, and the verdict on teacher and student.

    Args:
        count: (params, MACs) of a file that does not state them.

    Returns:
        The result, and name → answers to the pictures.
    """
    _require_names(subjects, settings)
    host = _host(settings)
    answers = {subject.name: _answers(subject, screen) for subject in subjects if _has_pictures(subject)}
    correct = {
        subject.name: answers[subject.name].correct(subject.pictures.labels)
        for subject in subjects
        if subject.pictures is not None and subject.name in answers
    }
    watch = Watch()
    measured = measure_in_turns(
        [Candidate(subject.runtime, subject.session, _image(subject)) for subject in subjects],
        settings,
        screen,
        watch.look,
    )
    watch.end()
    stated = [(subject.role, subject.precision, subject.session) for subject in subjects]
    costs = costs_of(stated, count)
    timed = {subject.name: found for subject, found in zip(subjects, measured, strict=True)}
    models = tuple(
        _result(subject, correct, cost, found, timed.get(settings.reference), settings)
        for subject, cost, found in zip(subjects, costs, measured, strict=True)
    )
    void = watch.void()
    unstable = (
        *watch.reasons(host),
        *latency_reasons([(model.name, one) for model in models for one in model.latencies]),
        *throughput_reasons([(model.name, one) for model in models for one in model.throughputs]),
    )
    notes = [
        *stability_notes(void, unstable),
        *accuracy_notes(models),
        *(latency_notes(models, host) if not void else ()),
        *start_notes({one.name: found.failure for one, found in zip(subjects, measured, strict=True)}),
        *target_notes(models, host),
        *finetuned_notes(models),
        *_free_sides(subjects),
        *(_fixed_batches(subjects) if settings.batch > 1 else ()),
    ]
    return (
        BenchResult(
            host,
            models,
            _claim(models, correct, settings, timed=not void),
            gain_of(correct),
            tuple(notes),
            tuple(watch.moments),
            unstable,
            void,
            differences_of(correct, settings.resamples, SEED),
        ),
        answers,
    )


def _host(settings: BenchSettings) -> Host:
    """With the versions of the runtimes."""
    host = read_host()
    return replace(host, versions=dict(host.versions) | versions_of(settings.runtimes))


def _has_pictures(subject: Subject) -> bool:
    return subject.pictures is not None and len(subject.pictures.labels) > 0


def _answers(subject: Subject, screen: Screen) -> Answered:
    pictures = subject.pictures
    assert pictures is not None
    return answer(
        subject.session,
        pictures.images,
        pictures.preprocess,
        pictures.classes,
        screen,
        f"accuracy {subject.name}",
    )


def _image(subject: Subject) -> Tensor:
    """What latency is measured on: the first picture, else uniform noise."""
    pictures, form = subject.pictures, subject.session.form
    if pictures is not None and len(pictures.images):
        return form.tensor(np.asarray(pictures.images[:1]), pictures.preprocess)
    height, width = subject.session.input_shape[2:]
    side = input_size(subject.session) or FREE_SIDE
    return form.noise(height or side, width or side, SEED)


def _result(
    subject: Subject,
    correct: Mapping[str, BoolArray],
    cost: Cost | None,
    found: Measured,
    reference: Measured | None,
    settings: BenchSettings,
) -> ModelResult:
    own, teacher = correct.get(subject.name), correct.get(settings.reference)
    right, images = (int(own.sum()), len(own)) if own is not None else (0, 0)
    retention = retention_ci = None
    if own is not None and teacher is not None:
        retention = Concordance.of(own, teacher).retention
        retention_ci = paired_bootstrap(own, teacher, settings.resamples, SEED)
    if subject.name == settings.reference and retention is not None:
        retention_ci = (1.0, 1.0)  # of itself, by definition
    path, info = subject.session.path, subject.session.info
    latencies, throughputs = found.latencies, found.throughputs
    if reference:
        timed = zip(latencies, reference.latencies, strict=True)
        latencies = tuple(latency_against(own, other, SEED) for own, other in timed)
        batches = zip(throughputs, reference.throughputs, strict=True)
        throughputs = tuple(throughput_against(own, other, SEED) for own, other in batches)
    return ModelResult(
        name=subject.name,
        role=subject.role,
        precision=subject.precision,
        accuracy=right / images if images else None,
        accuracy_ci=wilson(right, images) if images else None,
        n_images=images or None,
        retention=retention,
        retention_ci=retention_ci,
        params=cost[0] if cost else None,
        macs=cost[1] if cost else None,
        size_bytes=path.stat().st_size,
        latency_ms=latencies[0],
        file=path.name,
        sha256=sha256_file(path),
        runtime=subject.runtime,
        target=info.notes.get("target") if info is not None else None,
        finetuned=info.notes.get(FINETUNED) if info is not None else None,
        latency_ratio=latencies[0].ratio,
        latency_ratio_ci=latencies[0].ratio_ci,
        other_threads=latencies[1:],
        throughput=next(iter(throughputs), None),
        other_throughputs=throughputs[1:],
        own_process=found.own_process,
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


def _require_names(subjects: Sequence[Subject], settings: BenchSettings) -> None:
    """Raises UsageError where the claim is about a model that somebody named and that is not here."""
    known = [subject.name for subject in subjects]
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


def _free_sides(subjects: Sequence[Subject]) -> list[str]:
    return [
        f"The input side of {subject.name} is free; its latency was measured at {FREE_SIDE} × {FREE_SIDE}."
        for subject in subjects
        if subject.pictures is None
        and not input_size(subject.session)
        and None in subject.session.input_shape[2:]
    ]


def _fixed_batches(subjects: Sequence[Subject]) -> list[str]:
    return [
        f"The batch of {subject.name} is fixed at 1: its throughput is that of images one after the other."
        for subject in subjects
        if subject.session.input_shape[0] == 1
    ]
