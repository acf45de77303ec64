"""From trainings and their answers to the figures of a comparison. Pure; nothing is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from kdtool.compare.entries import Entry, baselines_of, plain_kd_of
from kdtool.compare.exam import TEACHER, Exam
from kdtool.compare.result import Comparison, Difference, Figure, Row, Run
from kdtool.compare.trainings import BASELINE, STUDENT, Trained
from kdtool.data.reader import Prepared
from kdtool.data.sources import digits
from kdtool.results.paired import gap_closed, images_interval, seeds_interval
from kdtool.runs.record import Job

EVIDENCE = 3  # seeds, at least
POINTS = 100.0


def summarize(
    job: Job, prepared: Prepared, entries: Sequence[Entry], trained: Sequence[Trained], exam: Exam
) -> Comparison:
    """All rows, the recipes by mean validation accuracy: the test accuracy has no part in their order."""
    plain = {entry.name: kd for entry in entries if (kd := plain_kd_of(entry, entries)) not in (None, entry)}
    recipes = [_recipe(entry, plain.get(entry.name), trained, exam) for entry in entries]
    recipes.sort(key=_place)
    recipes = [replace(row, best=not row.failed and _place(row) == _place(recipes[0])) for row in recipes]
    baselines = [
        _row(BASELINE, name, entry, _of(trained, BASELINE, name), exam)
        for name, entry in baselines_of(entries).items()
    ]
    comparison = Comparison(
        source=job.source,
        data=prepared.digest,
        seeds=tuple(sorted({one.seed for one in trained})),
        test_images=len(exam.correct[TEACHER]),
        teacher_arch=job.recipe.teacher.arch,
        teacher_validation=exam.teacher_validation,
        teacher_test=exam.accuracy(TEACHER),
        plain_kd=tuple(dict.fromkeys(kd.name for kd in plain.values())),
        recipes=tuple(recipes),
        baselines=tuple(baselines),
        notes=(),
    )
    return replace(comparison, notes=tuple(_notes(comparison)))


def difference(
    ours: Sequence[Trained], theirs: Sequence[Trained], than: str, exam: Exam
) -> Difference | None:
    """Ours minus theirs over the seeds that both have; None where there is none."""
    pairs = _pairs(ours, theirs)
    if not pairs:
        return None
    right, other = (np.stack([exam.correct[pair[side].key] for pair in pairs]) for side in (0, 1))
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


def _recipe(entry: Entry, plain: Entry | None, trained: Sequence[Trained], exam: Exam) -> Row:
    ours, alone = _of(trained, STUDENT, entry.name), _of(trained, BASELINE, entry.baseline)
    kd = _of(trained, STUDENT, plain.name) if plain else []
    pairs = _pairs(ours, alone)
    gap = None
    if pairs:
        student, baseline = (fmean(exam.accuracy(pair[side].key) for pair in pairs) for side in (0, 1))
        gap = gap_closed(student, baseline, exam.accuracy(TEACHER))
    return replace(
        _row(STUDENT, entry.name, entry, ours, exam),
        baseline=entry.baseline,
        gain=difference(ours, alone, entry.baseline, exam),
        over_kd=difference(ours, kd, plain.name, exam) if plain else None,
        gap_closed=gap,
    )


def _row(role: str, name: str, entry: Entry, trained: Sequence[Trained], exam: Exam) -> Row:
    settings = entry.student if role == STUDENT else entry.alone
    runs = tuple(
        Run(
            one.seed, one.validation, None if one.failed else exam.accuracy(one.key),
            one.best_epoch, one.epochs, one.seconds, one.failed,
        )
        for one in trained
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
    return [one for one in trained if (one.role, one.name) == (role, name)]


def _pairs(ours: Sequence[Trained], theirs: Sequence[Trained]) -> list[tuple[Trained, Trained]]:
    """The trainings of the seeds that both have."""
    by_seed = {one.seed: one for one in theirs if not one.failed}
    return [(one, by_seed[one.seed]) for one in ours if not one.failed and one.seed in by_seed]


def _notes(found: Comparison) -> Iterator[str]:
    n = len(found.seeds)
    if n < EVIDENCE:
        yield f"{n} seed(s) are no evidence: differences may come by chance. Give --seeds {EVIDENCE}."
    if found.source == digits.NAME:
        yield "These are the embedded digits: they prove the plumbing and are no evidence for a recipe."
    for row in found.baselines:
        if row.test and row.test.mean >= found.teacher_test:
            yield f"The teacher is no better than the {found.title(row)} on test: there is no gap to close."
    for row in (*found.recipes, *found.baselines):
        for run in row.runs:
            if run.failed:
                yield f"{found.title(row)}, seed {run.seed}, failed: {run.failed}"
