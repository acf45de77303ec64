"""Figures of a comparison from its trainings and predictions; pure functions without files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from kdtool.compare.entries import Entry, baselines_of, plain_kd_of
from kdtool.compare.evaluation import TEACHER, EvaluatedNetworks
from kdtool.compare.paired import gap_closed, images_interval, seeds_interval
from kdtool.compare.result import Comparison, Difference, Row, SeedMean, SeedResult
from kdtool.compare.trainings import BASELINE, PROBE, STUDENT, Trained
from kdtool.data.reader import Prepared
from kdtool.data.sources import digits
from kdtool.runs.record import Job

EVIDENCE = 3  # smallest number of seeds
POINTS = 100.0


def summarize(
    job: Job,
    prepared: Prepared,
    entries: Sequence[Entry],
    trained: Sequence[Trained],
    evaluation: EvaluatedNetworks,
) -> Comparison:
    """Build all rows; recipes are sorted by mean validation accuracy, never by test accuracy."""
    plain = {entry.name: kd for entry in entries if (kd := plain_kd_of(entry, entries)) not in (None, entry)}
    recipes = [_recipe(entry, plain.get(entry.name), trained, evaluation) for entry in entries]
    recipes.sort(key=_place)
    recipes = [replace(row, best=not row.failed and _place(row) == _place(recipes[0])) for row in recipes]
    baselines = [
        _row(BASELINE, name, entry, _of(trained, BASELINE, name), evaluation)
        for name, entry in baselines_of(entries).items()
    ]
    probes = [
        _row(PROBE, probe.name, entry, [probe], evaluation)
        for probe in trained
        if probe.role == PROBE
        for entry in [next(one for one in entries if one.probe == probe.name)]
    ]
    comparison = Comparison(
        source=job.source,
        data=prepared.digest,
        seeds=tuple(sorted({training.seed for training in trained if training.role != PROBE})),
        test_images=len(evaluation.correct[TEACHER]),
        teacher_arch=job.recipe.teacher.arch,
        teacher_validation=evaluation.teacher_validation,
        teacher_test=evaluation.accuracy(TEACHER),
        plain_kd=tuple(dict.fromkeys(kd.name for kd in plain.values())),
        recipes=tuple(recipes),
        baselines=tuple(baselines),
        probes=tuple(probes),
        notes=(),
        teacher_test_balanced_accuracy=evaluation.tallies[TEACHER].balanced_accuracy,
        teacher_test_macro_f1=evaluation.tallies[TEACHER].macro_f1,
    )
    return replace(comparison, notes=tuple(_notes(comparison)))


def difference(
    students: Sequence[Trained], references: Sequence[Trained], than: str, evaluation: EvaluatedNetworks
) -> Difference | None:
    """Test accuracy of `students` minus that of `references` (their name is `than`), paired by seed.

    None if there is no common seed.
    """
    pairs = _pairs(students, references)
    if not pairs:
        return None
    correct, reference = (np.stack([evaluation.correct[pair[side].key] for pair in pairs]) for side in (0, 1))
    points = [POINTS * float(value) for value in correct.mean(axis=1) - reference.mean(axis=1)]
    mean = SeedMean.of(points)
    assert mean is not None
    low, high = images_interval(correct, reference)
    return Difference(than, mean.mean, mean.sd, mean.n, seeds_interval(points), (POINTS * low, POINTS * high))


def _place(row: Row) -> tuple[bool, float]:
    """Sort key: the best validation accuracy first, recipes with a failed training last."""
    return row.failed, -row.validation.mean if row.validation else 0.0


def _recipe(
    entry: Entry, plain: Entry | None, trained: Sequence[Trained], evaluation: EvaluatedNetworks
) -> Row:
    students, baselines = _of(trained, STUDENT, entry.name), _of(trained, BASELINE, entry.baseline)
    kd = _of(trained, STUDENT, plain.name) if plain else []
    probe = [
        replace(one, seed=student.seed) for one in _of(trained, PROBE, entry.probe) for student in students
    ]
    pairs = _pairs(students, baselines)
    gap = None
    if pairs:
        student, baseline = (fmean(evaluation.accuracy(pair[side].key) for pair in pairs) for side in (0, 1))
        gap = gap_closed(student, baseline, evaluation.accuracy(TEACHER))
    return replace(
        _row(STUDENT, entry.name, entry, students, evaluation),
        baseline=entry.baseline,
        gain=difference(students, baselines, entry.baseline, evaluation),
        over_kd=difference(students, kd, plain.name, evaluation) if plain else None,
        over_probe=difference(students, probe, entry.probe, evaluation) if probe else None,
        gap_closed=gap,
    )


def _row(
    role: str, name: str, entry: Entry, trained: Sequence[Trained], evaluation: EvaluatedNetworks
) -> Row:
    settings = entry.baseline_student if role == BASELINE else entry.student
    runs = tuple(
        SeedResult(
            training.seed, training.validation,
            None if training.failed else evaluation.accuracy(training.key),
            training.best_epoch, training.epochs, training.seconds, training.failed,
            None if training.failed else evaluation.tallies[training.key].balanced_accuracy,
            None if training.failed else evaluation.tallies[training.key].macro_f1,
        )
        for training in trained
    )  # fmt: skip
    return Row(
        role=role,
        name=name,
        budget=settings.epochs if role != PROBE else 0,
        student=settings.model_dump(mode="json"),
        runs=runs,
        validation=_mean(run.validation for run in runs),
        test=_mean(run.test for run in runs),
        test_balanced_accuracy=_mean(run.test_balanced_accuracy for run in runs),
        test_macro_f1=_mean(run.test_macro_f1 for run in runs),
        seconds=fmean(times) if (times := [run.seconds for run in runs if run.seconds is not None]) else None,
    )


def _mean(values: Iterable[float | None]) -> SeedMean | None:
    """Mean over the seeds that have a value."""
    return SeedMean.of([value for value in values if value is not None])


def _of(trained: Sequence[Trained], role: str, name: str) -> list[Trained]:
    return [training for training in trained if (training.role, training.name) == (role, name)]


def _pairs(students: Sequence[Trained], references: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """Pair the trainings by seed; seeds that one side lacks are left out."""
    by_seed = {training.seed: training for training in references if not training.failed}
    return [
        (training, by_seed[training.seed])
        for training in students
        if not training.failed and training.seed in by_seed
    ]


def _notes(comparison: Comparison) -> Iterator[str]:
    n = len(comparison.seeds)
    if n < EVIDENCE:
        seeds = "1 seed is" if n == 1 else f"{n} seeds are"
        yield f"{seeds} no evidence: the differences may be chance. Give --seeds {EVIDENCE}."
    if comparison.source == digits.NAME:
        yield "The embedded digits show that the tool works; they are no evidence for a recipe."
    for row in comparison.baselines:
        if row.test and row.test.mean >= comparison.teacher_test:
            title = comparison.title(row)
            yield f"The teacher is no better than the {title} on test: there is no gap to close."
    for row in comparison.recipes:
        if row.over_probe is not None and row.over_probe.points <= 0:
            yield (
                f"{row.name} does not beat its own frozen features with a linear classifier on test "
                f"({row.over_probe.points:+.2f} percentage points)."
            )
    for row in (*comparison.recipes, *comparison.baselines):
        for run in row.runs:
            if run.failed:
                yield f"{comparison.title(row)}, seed {run.seed}, failed: {run.failed}"
