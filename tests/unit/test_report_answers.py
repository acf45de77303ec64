"""Calibration, flips and the table of runs, on answers made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdtool.report.charts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from kdtool.report.charts.tradeoff import Point, trade_off
from kdtool.report.flips import flips_of
from kdtool.report.reliability import reliability_chart, reliability_curve
from kdtool.results.predictions import Predicted, Predictions
from kdtool.results.statistics.accuracy import wilson


def test_calibration_is_the_published_formula() -> None:
    """ECE by hand: bins [.6, .7) with 1 of 2 right at .65, and [.9, 1] with 3 of 3 right at .95."""
    labels = ("a", "a", "a", "b", "b")
    answers = Predicted(("a", "b", "a", "b", "b"), (0.62, 0.68, 0.92, 0.98, 0.95))
    found = reliability_curve(labels, answers)
    assert found.error == pytest.approx(2 / 5 * abs(0.5 - 0.65) + 3 / 5 * abs(1 - 0.95))
    assert found.bias == pytest.approx((0.62 + 0.68 + 0.92 + 0.98 + 0.95) / 5 - 4 / 5)
    assert [one.n_images for one in found.bins] == [2, 3]
    assert (found.bins[0].low, found.bins[0].high) == wilson(1, 2)


def test_a_certain_answer_falls_into_the_last_bin() -> None:
    found = reliability_curve(("a", "a"), Predicted(("a", "b"), (1.0, 0.0)))
    assert [one.n_images for one in found.bins] == [1, 1]
    assert found.bins[-1].confidence == 1.0


def test_the_calibration_chart_lies_inside_and_has_the_diagonal() -> None:
    drawing = reliability_chart(
        "Student", "student", reliability_curve(("a", "b"), Predicted(("a", "a"), (0.3, 1.0)))
    )
    assert drawing.lines[0].points == ((LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP))
    for mark in drawing.marks:
        assert LEFT <= mark.x <= WIDTH - RIGHT
        assert TOP <= mark.high <= mark.y <= mark.low <= HEIGHT - BOTTOM


def predictions() -> Predictions:
    return Predictions(
        paths=("1", "2", "3", "4", "5"),
        labels=("a", "a", "b", "b", "a"),
        models={
            "student": Predicted(("a", "a", "a", "a", "a"), (0.9, 0.8, 0.7, 0.6, 0.5)),
            "student-int8": Predicted(("a", "b", "b", "c", "a"), (0.8, 0.7, 0.6, 0.5, 0.7)),
        },
    )


def test_flips_are_named_and_the_lost_ones_come_first() -> None:
    found = flips_of(predictions(), "student")
    assert found is not None
    assert [(flip.path, flip.effect) for flip in found.flips] == [
        ("2", "lost"),
        ("4", "neither"),
        ("3", "won"),
    ]
    assert [found.count(effect) for effect in ("lost", "won", "neither")] == [1, 1, 1]
    assert found.drift == pytest.approx((0.1 + 0.2) / 2)


def test_without_an_int8_model_there_are_no_flips() -> None:
    assert flips_of(predictions(), "teacher") is None


def test_models_of_one_cost_have_their_labels_on_one_side() -> None:
    points = [Point(name, "student", cost, 0.9, 0.8, 0.95) for name, cost in (("a", 1), ("b", 1), ("c", 2))]
    marks = {mark.name: mark for mark in trade_off("", "", points).marks}
    assert marks["a"].anchor == marks["b"].anchor
    assert marks["a"].label_y != marks["b"].label_y


# --- the page -------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs as a device may hold them: run.json, bench.json and predictions.csv."""
    from kdtool.recipe.files import load_recipe

    latency = {"p50": 2.0, "p90": 3.0, "samples": [2.0] * 64, "warmup": [2.0], "threads": 1}
    host = {
        "processor": "one", "machine": "x", "flags": [], "cores": 2, "usable": 2, "memory_bytes": None,
        "governor": None, "frequency_mhz": None, "temperature_c": None, "throttling": None, "load": None,
        "os": "any", "versions": {},
    }  # fmt: skip
    for name, epochs, data, processor in (("first", 3, "d1", "one"), ("<b>second", 5, "d2", "two")):
        run = tmp_path / name
        run.mkdir()
        models = [
            {
                "name": name, "role": role, "precision": precision, "accuracy": 0.8,
                "accuracy_ci": [0.7, 0.9],
                "n_images": 5, "retention": 1.0, "retention_ci": [0.9, 1.1], "params": 10, "macs": 10**6,
                "flops": 2 * 10**6, "size_bytes": 10**6, "latency_ms": latency, "file": "x", "sha256": "y",
            }
            for name, role, precision in (
                ("teacher", "teacher", "fp32"), ("student", "student", "fp32"),
                ("student-int8", "student", "int8"),
            )
        ]  # fmt: skip
        claim = {
            "verdict": "INCONCLUSIVE", "retention": 1.0, "retention_ci": [0.9, 1.1], "compute_ratio": 0.5,
            "params_ratio": 0.5, "thresholds": {"retention": 0.94, "compute": 0.5}, "images_needed": 100,
        }  # fmt: skip
        bench = {"schema": 1, "host": {**host, "processor": processor}, "models": models, "claim": claim}
        (run / "bench.json").write_text(json.dumps({**bench, "gain": None, "notes": []}))
        (run / "predictions.csv").write_text(predictions().to_csv())
        recipe = load_recipe("paper", [f"student.epochs={epochs}"]).to_json()
        record = {
            "schema": 1,
            "recipe": recipe,
            "seed": 0,
            "source": "s",
            "classes": ["a", "b", "c"],
            "data": data,
        }
        (run / "run.json").write_text(json.dumps(record))
    return tmp_path / "first", tmp_path / "<b>second"


def test_the_page_sets_runs_side_by_side_and_marks_what_cannot_be_compared(pair: tuple[Path, Path]) -> None:
    from kdtool.core.screen import QUIET
    from kdtool.report.stage import write_report
    from kdtool.runs.folder import RunFolder

    first, second = (RunFolder(path) for path in pair)
    html = write_report(first, QUIET, [second]).read_text()
    assert "Beside other runs" in html
    assert "<b>second" not in html
    assert "80.0 *" in html  # other test images
    assert "2.00 †" in html  # another processor
    assert "<bdi>student.epochs</bdi></th><td><bdi>3</bdi></td><td><bdi>5</bdi>" in html
    assert "Beside other runs" not in write_report(first, QUIET).read_text()


def test_void_latencies_are_not_set_side_by_side(pair: tuple[Path, Path]) -> None:
    from kdtool.core.screen import QUIET
    from kdtool.report.stage import write_report
    from kdtool.runs.folder import RunFolder

    first, second = (RunFolder(path) for path in pair)
    bench = json.loads(second.bench.read_text())
    second.bench.write_text(json.dumps({**bench, "void": ["the processor is emulated"]}))
    html = write_report(first, QUIET, [second]).read_text()
    assert html.count("<td>void †</td>") == 2  # FP32 and INT8 of the second run
    assert "2.00 †" not in html


def test_a_run_that_was_not_measured_cannot_stand_beside(pair: tuple[Path, Path]) -> None:
    from kdtool.core.errors import UsageError
    from kdtool.core.screen import QUIET
    from kdtool.report.stage import write_report
    from kdtool.runs.folder import RunFolder

    first, second = (RunFolder(path) for path in pair)
    second.bench.unlink()
    with pytest.raises(UsageError, match=r"has no bench\.json"):
        write_report(first, QUIET, [second])
