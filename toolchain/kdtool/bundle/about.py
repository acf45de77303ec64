"""Facts about a model, read from run.json, bench.json, predictions.csv and the model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import open_prepared
from kdtool.data.sources.digits import NAME as DIGITS
from kdtool.machine.host import Host
from kdtool.results.bench import BenchResult, ModelResult, read_bench
from kdtool.results.figures import gmacs, percent
from kdtool.results.predictions import ClassAccuracy, class_accuracies, read_predictions
from kdtool.results.shipping import added_in_words
from kdtool.results.wording import result_in_words
from kdtool.runs.folder import RunFolder
from kdtool.runs.record import unlabelled_in_words

WEAKEST = 5
Fact = tuple[str, str]


@dataclass(frozen=True)
class About:
    """Facts about a model, as its card states them.

    Attributes:
        name: name of the run's folder.
        source: path of the photographs; it never enters a bundle.
        plumbing: True if the model was trained on the embedded digits, which prove nothing.
        facts: pairs of term and text about the model.
        data: pairs of term and text about the training data.
        bench: content of bench.json; None if nothing was measured.
        verdict: sentences about the claim.
        weakest: the classes with the lowest accuracy.
        compute: a sentence about MACs and parameters; "" if they are unknown.
    """

    name: str
    title: str
    source: str
    plumbing: bool
    facts: tuple[Fact, ...]
    data: tuple[Fact, ...]
    bench: BenchResult | None
    verdict: tuple[str, ...]
    weakest: tuple[ClassAccuracy, ...]
    compute: str

    @property
    def void(self) -> tuple[str, ...]:
        """Reasons why the measured latencies are void."""
        return self.bench.void if self.bench else ()

    def bench_row(self, sha256: str, role: str, precision: str) -> ModelResult | None:
        """Row of bench.json for the file with this hash; None if bench has not measured it."""
        rows = self.bench.models if self.bench else ()
        return next(
            (row for row in rows if row.sha256 == sha256 and (row.role, row.precision) == (role, precision)),
            None,
        )


def gather(run: RunFolder, info: ModelInfo, screen: Screen) -> About:
    """Collect the facts about the model `info` of `run`.

    Raises:
        UsageError: bench.json is broken.
        DataError: predictions.csv or the prepared data is broken.
    """
    bench = read_bench(run.bench) if run.bench.is_file() else None
    if bench is None:
        screen.warn("The run has no bench.json, so the card states no accuracy. Measure with: kdtool bench")
    record = run.read_record() if run.record.is_file() else {}
    name = run.path.resolve().name
    source = str(record.get("source", ""))
    title = str(record.get("recipe", {}).get("title") or "").strip()
    return About(
        name=name,
        title=name,
        source=source,
        plumbing=source == DIGITS,
        facts=_facts(info, record, title),
        data=_data(run, source, record.get("unlabelled")),
        bench=bench,
        verdict=_verdict(bench) if bench and info.role == "student" else (),
        weakest=_weakest(run, info.role),
        compute=_compute(info, bench),
    )


def host_in_words(host: Host) -> str:
    """Processor, cores, operating system and onnxruntime version of a measurement."""
    versions = host.versions.get("onnxruntime", "")
    parts = [host.processor, f"{host.usable} of {host.cores} cores", host.os]
    return ", ".join(part for part in [*parts, f"onnxruntime {versions}" if versions else ""] if part)


def _facts(info: ModelInfo, record: Mapping[str, Any], title: str) -> tuple[Fact, ...]:
    recipe = record.get("recipe", {})
    loss = recipe.get("student", {}).get("loss", {}).get("name", "")
    teacher = recipe.get("teacher", {}).get("arch", "")
    facts = [("Network", info.arch)]
    if info.role == "student" and teacher:
        facts.append(("Distilled from", f"{teacher}, with {loss}" if loss else teacher))
    if recipe:
        facts.append(("Recipe", f"{recipe['name']}{': ' + title if title else ''}"))
    preprocess = info.preprocess
    facts.append(("Input", f"{preprocess.size} × {preprocess.size} RGB, shortest side {preprocess.resize}"))
    if info.params:
        facts.append(("Parameters", f"{info.params / 1e6:.2f} M"))
    if info.macs:
        facts.append(("Compute", _per_image(info.macs, 3)))
    return tuple(facts)


def _verdict(bench: BenchResult) -> tuple[str, ...]:
    return (*added_in_words(bench), *result_in_words(bench))


def _data(run: RunFolder, source: str, unlabelled: Mapping[str, Any] | None) -> tuple[Fact, ...]:
    facts = []
    if source:
        facts.append(("Photographs", Path(source).name))  # the path is private
    if (run.data / "manifest.json").is_file():
        prepared = open_prepared(run.data)
        facts.append(("Images", ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())))
        facts.append(("SHA-256 of the prepared images", prepared.digest))
    if unlabelled:
        facts.append(("Photographs without labels", unlabelled_in_words(unlabelled)))
    return tuple(facts)


def _weakest(run: RunFolder, role: str) -> tuple[ClassAccuracy, ...]:
    if not run.predictions.is_file():
        return ()
    predictions = read_predictions(run.predictions)
    model = predictions.models.get(role)
    if model is None:
        return ()
    return tuple(class_accuracies(predictions.labels, model)[:WEAKEST])


def _compute(info: ModelInfo, bench: BenchResult | None) -> str:
    teacher = bench.model("teacher") if bench else None
    if not info.macs:
        return ""
    text = f"{_per_image(info.macs, 4)}, {info.params / 1e6:.2f} M parameters"
    if teacher and teacher.macs and teacher.params:
        text += (
            f"; {percent(info.macs / teacher.macs)} of the teacher's compute, "
            f"{percent(info.params / teacher.params)} of its parameters"
        )
    return f"{text}. Counted from the graph of the shipped file; 1 MAC = 2 FLOPs."


def _per_image(macs: int, digits: int) -> str:
    return f"{gmacs(macs, digits)} ({2 * macs / 1e9:.{digits}g} GFLOPs) per image"
