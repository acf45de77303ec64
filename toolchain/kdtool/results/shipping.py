"""The file to ship: which model of a run it is, how good it is, and what distillation added.

The INT8 file of the student is shipped if it passed its gate and is not slower than float32 on the machine of
the bench: it is a quarter of the size. Otherwise the float32 file of the student is shipped. The test images
do not choose: both files passed on validation, and a fault on test stops the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdtool.results.bench import BenchResult, ModelDifference, ModelResult
from kdtool.results.figures import megabytes, percent
from kdtool.results.statistics.sessions import speedup_of_sessions

STUDENT, INT8 = "student", "student-int8"
REFERENCES = {  # model that shows what something added → its words after "the student has … over"
    "baseline": "the same student without a teacher",
    "probe": "its own frozen features with a linear classifier",
}


@dataclass(frozen=True)
class Shipped:
    """The model to ship, and why it is this one."""

    model: ModelResult
    why: str


def to_ship(result: BenchResult) -> Shipped | None:
    """Choose the model to ship; None if the run has no student, or it has a fault."""
    student, int8 = result.model(STUDENT), result.model(INT8)
    if student is not None and student.fault:
        return None
    if int8 is not None and not int8.fault:
        slower = _slower(int8, student, void=bool(result.void))
        if student is None or not slower:
            return Shipped(int8, _why_int8(int8, student))
        return Shipped(student, f"float32, since INT8 is slower here ({slower})")
    if student is None:
        return None
    return Shipped(student, "float32; the run has no INT8 file of the student")


def shipping_in_words(result: BenchResult, folder: Path) -> tuple[str, ...]:
    """Lines about the model to ship: its file, its accuracy, size and time, what distillation added.

    Args:
        folder: folder of the run.
    """
    shipped = to_ship(result)
    if shipped is None:
        return ()
    model = shipped.model
    figures = [_accuracy(model), megabytes(model.size_bytes)]
    if not result.void:
        threads = model.latency_ms.threads
        figures.append(
            f"{model.latency_ms.p50:.3g} ms here for one image with {threads} thread{'s' * (threads > 1)}"
        )
    lines = [
        f"Ship {folder / 'onnx' / model.file} ({shipped.why}).",
        f"It has {', '.join(figures)}.",
        *added_in_words(result),
        f"Next, for an app or a web page: kdtool bundle {folder}",
    ]
    return tuple(lines)


def added_in_words(result: BenchResult) -> tuple[str, ...]:
    """Sentences that say what the training of the student added, over each model to compare it with."""
    sentences = []
    for name, words in REFERENCES.items():
        points, interval = _over(result.differences, name)
        if points is None or interval is None:
            continue
        low, high = interval
        figures = f"{points:+.2f} percentage points ({low:+.1f} to {high:+.1f})"
        certain = "" if low > 0 or high < 0 else ", which chance may explain"
        sentence = f"On test, the student has {figures} over {words}{certain}."
        if name == "probe" and points <= 0:
            sentence += " So training it did not beat the frozen network."
        sentences.append(sentence)
    return tuple(sentences)


def _over(
    differences: tuple[ModelDifference, ...], name: str
) -> tuple[float | None, tuple[float, float] | None]:
    """Difference of the student from the model `name`, percentage points, and its interval."""
    for pair in differences:
        if (pair.model, pair.against) == (STUDENT, name):
            return pair.points, pair.points_ci
        if (pair.model, pair.against) == (name, STUDENT):
            low, high = pair.points_ci
            return 0.0 - pair.points, (0.0 - high, 0.0 - low)
    return None, None


def _accuracy(model: ModelResult) -> str:
    if model.accuracy is None or model.accuracy_ci is None:
        return "an accuracy that is not measured"
    low, high = model.accuracy_ci
    between = f"95 % interval {percent(low)} to {percent(high)}"
    return f"{percent(model.accuracy, 2)} of {model.n_images:,} test photographs right ({between})"


def _slower(int8: ModelResult, student: ModelResult | None, *, void: bool) -> str:
    """Say by how much INT8 is slower than float32; empty if it is not, or not certainly."""
    if student is None or void:
        return ""
    ratio = speedup_of_sessions(int8.latency_ms.by_session, student.latency_ms.by_session)
    slower = ratio.interval is not None and ratio.interval[1] < 1
    return f"{ratio.value:.2f} × as fast" if slower else ""


def _why_int8(int8: ModelResult, student: ModelResult | None) -> str:
    if student is None:
        return "INT8"
    return f"INT8, {percent(int8.size_bytes / student.size_bytes, 0)} of the float32 file"
