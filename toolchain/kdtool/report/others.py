"""The table that compares this run with other runs, with the student of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.core.errors import UsageError
from kdtool.recipe.files import flatten
from kdtool.results.bench import ModelResult, read_bench
from kdtool.runs.folder import RunFolder

STUDENTS = ("student", "student-int8")


@dataclass(frozen=True)
class OtherRun:
    """One run of the table.

    Attributes:
        same_images, same_host: True if the run has the test images, the processor of the first run.
        void: True if the latencies of the run mean nothing.
        differences: recipe fields that differ: (key, value in the first run, value in this run).
    """

    name: str
    verdict: str
    models: tuple[ModelResult, ...]
    same_images: bool
    same_host: bool
    void: bool
    differences: tuple[tuple[str, str, str], ...]


def compare_runs(run: RunFolder, others: Sequence[RunFolder]) -> tuple[OtherRun, ...]:
    """Make one row for each run: `run` first, then the others.

    Raises:
        UsageError: a run has no measurement.
    """
    if not others:
        return ()
    runs = (run, *others)
    for each in runs:
        if not each.bench.is_file():
            raise UsageError(f"{each.path} has no bench.json.", f"Measure it with: kdtool bench {each.path}")
    benches = [read_bench(each.bench) for each in runs]
    records = [each.read_record() if each.record.is_file() else {} for each in runs]
    first = _fields(records[0])
    rows = []
    for each, bench, record in zip(runs, benches, records, strict=True):
        fields = _fields(record)
        keys = sorted(key for key in first.keys() | fields.keys() if first.get(key) != fields.get(key))
        rows.append(
            OtherRun(
                each.path.resolve().name,
                bench.claim.verdict or "INCONCLUSIVE",
                tuple(model for name in STUDENTS if (model := bench.model(name)) is not None),
                same_images=bool(record.get("data")) and record.get("data") == records[0].get("data"),
                same_host=bench.host.processor == benches[0].host.processor,
                void=bool(bench.void),
                differences=tuple((key, _text(first.get(key)), _text(fields.get(key))) for key in keys),
            )
        )
    return tuple(rows)


def _fields(record: dict[str, object]) -> dict[str, object]:
    recipe = record.get("recipe", {})
    fields = flatten(recipe) if isinstance(recipe, dict) else {}
    return {key: value for key, value in fields.items() if key not in ("name", "title")}


def _text(value: object) -> str:
    return "none" if value is None or value == "" else str(value)
