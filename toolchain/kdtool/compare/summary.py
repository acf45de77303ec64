"""From trainings and their answers to the figures of a comparison. Pure; nothing is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from kdtool.compare.entries import Entry, baselines_of, plain_kd_of
from kdtool.compare.evaluation import TEACHER, Evaluation
from kdtool.compare.result import Comparison, Difference, Figure, Row, Run
from kdtool.compare.trainings import BASELINE, STUDENT, Trained
from kdtool.data.reader import Prepared
from kdtool.data.sources import digits
from kdtool.results.paired import gap_closed, images_interval, seeds_interval
from kdtool.runs.record import Job

EVIDENCE = 3  # seeds, at least
POINTS = 100.0


def summarize(
    job: Job, prepared: Prepared, entries: Sequence[Entry], trained: Sequence[Trained], evaluation: Evaluation
) -> Comparison:
    """All rows, the recipes by mean validation accuracy: the test accuracy has no part in their order."""
    plain = {entry.name: kd for entry in entries if (kd := plain_kd_of(entry, entries)) not in (None, entry)}
    recipes = [_recipe(entry, plain.get(entry.name), trained, evaluation) for entry in entries]
    recipes.sort(key=_place)
    recipes = [replace(row, best=not row.failed and _place(row) == _place(recipes[0])) for row in recipes]
    baselines = [
        _row(BASELINE, name, entry, _of(trained, BASELINE, name), evaluation)
        for name, entry in baselines_of(entries).items()
    ]
    comparison = Comparison(
        source=job.source,
        data=prepared.digest,
        seeds=tuple(sorted({training.seed for training in trained})),
        test_images=len(evaluation.correct[TEACHER]),
        teacher_arch=job.recipe.teacher.arch,
        teacher_validation=evaluation.teacher_validation,
        teacher_test=evaluation.accuracy(TEACHER),
        plain_kd=tuple(dict.fromkeys(kd.name for kd in plain.values())),
        recipes=tuple(recipes),
        baselines=tuple(baselines),
        notes=(),
    )
    return replace(comparison, notes=tuple(_notes(comparison)))


def difference(
    ours: Sequence[Trained], theirs: Sequence[Trained], than: str, evaluation: Evaluation
) -> Difference | None:
    """Ours minus theirs over the seeds that both have; None where there is none."""
    pairs = _pairs(ours, theirs)
    if not pairs:
        return None
    right, other = (np.stack([evaluation.correct[pair[side].key] for pair in pairs]) for side in (0, 1))
    points = [POINTS * float(value) for value in right.mean(axis=1) - other.mean(axis=1)]
    figure = Figure.of(points)
    assert figure is not None
    low, high = images_interval(right, other)
    return Difference(
        than, figure.mean, figure.sd, figure.n, seeds_interval(points), (POINTS * low, POINTS * high)
    )


def _place(row: Row) -> tuple[bool, float]:
    """The best on validation first; where a training is missing, last."""
    return row.failed, -row.validation.mean if row.validation else 0.0


def _recipe(entry: Entry, plain: Entry | None, trained: Sequence[Trained], evaluation: Evaluation) -> Row:
    ours, alone = _of(trained, STUDENT, entry.name), _of(trained, BASELINE, entry.baseline)
    kd = _of(trained, STUDENT, plain.name) if plain else []
    pairs = _pairs(ours, alone)
    gap = None
    if pairs:
        student, baseline = (fmean(evaluation.accuracy(pair[side].key) for pair in pairs) for side in (0, 1))
        gap = gap_closed(student, baseline, evaluation.accuracy(TEACHER))
    return replace(
        _row(STUDENT, entry.name, entry, ours, evaluation),
        baseline=entry.baseline,
        gain=difference(ours, alone, entry.baseline, evaluation),
        over_kd=difference(ours, kd, plain.name, evaluation) if plain else None,
        gap_closed=gap,
    )


def _row(role: str, name: str, entry: Entry, trained: Sequence[Trained], evaluation: Evaluation) -> Row:
    settings = entry.student if role == STUDENT else entry.alone
    runs = tuple(
        Run(
            training.seed, training.validation,
            None if training.failed else evaluation.accuracy(training.key),
            training.best_epoch, training.epochs, training.seconds, training.failed,
        )
        for training in trained
    )  # fmt: skip
    return Row(
        role=role,
        name=name,
        budget=settings.epochs,
        student=settings.model_dump(mode="json"),
        runs=runs,
        validation=Figure.of([run.validation for run in runs if run.validation is not None]),
        test=Figure.of([run.test for run in runs if run.test is not None]),
        seconds=fmean(times) if (times := [run.seconds for run in runs if run.seconds is not None]) else None,
    )


def _of(trained: Sequence[Trained], role: str, name: str) -> list[Trained]:
    return [training for training in trained if (training.role, training.name) == (role, name)]


def _pairs(ours: Sequence[Trained], theirs: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """The trainings of the seeds that both have."""
    by_seed = {training.seed: training for training in theirs if not training.failed}
    return [
        (training, by_seed[training.seed])
        for training in ours
        if not training.failed and training.seed in by_seed
    ]


def _notes(comparison: Comparison) -> Iterator[str]:
    n = len(comparison.seeds)
    if n < EVIDENCE:
        yield f"{n} seed(s) are no evidence: differences may come by chance. Give --seeds {EVIDENCE}."
    if comparison.source == digits.NAME:
        yield "These are the embedded digits: they prove the plumbing and are no evidence for a recipe."
    for row in comparison.baselines:
        if row.test and row.test.mean >= comparison.teacher_test:
            title = comparison.title(row)
            yield f"The teacher is no better than the {title} on test: there is no gap to close."
    for row in (*comparison.recipes, *comparison.baselines):
        for run in row.runs:
            if run.failed:
                yield f"{comparison.title(row)}, seed {run.seed}, failed: {run.failed}"
