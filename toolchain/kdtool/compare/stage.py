"""Steps of a comparison: photographs, teacher, all trainings, then the test split, once."""

from __future__ import annotations

from collections.abc import Sequence

from kdtool import pipeline
from kdtool.compare.csvfiles import table_csv, trainings_csv
from kdtool.compare.entries import Entry
from kdtool.compare.evaluation import TEACHER, evaluate_all
from kdtool.compare.figure import comparison_png
from kdtool.compare.record import record_students, require_same_students
from kdtool.compare.result import Comparison
from kdtool.compare.summary import summarize
from kdtool.compare.trainings import probes_of, train_all
from kdtool.core.files import sha256_json, write_json, write_text
from kdtool.machine.host import read_host
from kdtool.machine.packages import versions_of
from kdtool.runs.comparison import write_students
from kdtool.runs.record import Job
from kdtool.runs.stage import Stage

RESULT, TABLE, TRAININGS, FIGURE = "compare.json", "compare.csv", "compare-trainings.csv", "compare.png"


def compare(job: Job, entries: Sequence[Entry], seeds: Sequence[int], rescan: bool = True) -> Comparison:
    """Train and evaluate all networks; write compare.json, two CSV files and compare.png.

    Complete steps are skipped. The job has the seed of the teacher, the photographs and the teacher.

    Args:
        seeds: seeds of the students and baselines.
        rescan: scan the photographs again, as in `pipeline.prepare`.

    Raises:
        UsageError: the students in the folder were trained with other settings.
        GateError: the teacher diverged; a student that diverges is a failure in the result.
        Interrupted: SIGTERM or Ctrl-C; the same command continues from there.
    """
    require_same_students(job.run, entries)
    if not job.run.is_comparison:
        write_students(job.run, {})  # marks the folder as a comparison before its first result
    cuts = any(entry.recipe.cuts_views for entry in entries)
    prepared = pipeline.prepare(job, rescan, cuts)
    pipeline.teach(job, prepared)
    record_students(job.run, entries)
    trained = (*train_all(job, prepared, entries, seeds), *probes_of(job, entries))
    networks = {TEACHER: job.run.weights("teacher")}
    networks |= {training.key: training.weights for training in trained if not training.failed}
    evaluation = evaluate_all(job.run.path / "test", prepared, networks, job.screen)
    result = summarize(job, prepared, entries, trained, evaluation)
    _write(job, result)
    return result


def _write(job: Job, result: Comparison) -> None:
    """Write the files again only if the figures have changed."""
    content, folder = result.to_json(), job.run.path
    stage = Stage("compare", folder, {"figures": sha256_json(content)}, "compare.manifest.json")
    if stage.complete() is not None:
        job.screen.say("compare: nothing has changed.")
        return
    stage.reopen()
    write_json(folder / RESULT, {**content, "host": read_host().__dict__, "versions": versions_of()})
    write_text(folder / TABLE, table_csv(result))
    write_text(folder / TRAININGS, trainings_csv(result))
    comparison_png(result, folder / FIGURE)
    stage.seal([RESULT, TABLE, TRAININGS, FIGURE], {}, versions_of())
