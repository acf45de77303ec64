"""The parts of the report: histories, mistakes, axes and charts."""

from __future__ import annotations

import itertools
import shlex
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtool.core.errors import DataError, SetupError
from kdtool.recipe.files import load_recipe
from kdtool.report.charts.axis import axis
from kdtool.report.charts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, curves
from kdtool.report.charts.tradeoff import LABEL_GAP, Point, trade_off
from kdtool.report.facts import command_of
from kdtool.report.mistakes import confusion, most_confused, worst_mistakes
from kdtool.report.render import duration
from kdtool.report.verdict import unbroken
from kdtool.results.figures import column, interval, percent
from kdtool.results.history import COLUMNS, History, read_history
from kdtool.results.predictions import Predicted, Predictions, class_accuracies
from kdtool.train.curves import curves_png

HEADER = ",".join(COLUMNS)


def history_file(path: Path, epochs: int) -> Path:
    rows = [
        f"{e},{2 / e},{1 - 1 / (e + 1)},{2.1 / e},{0.9 - 0.3 / e},0.5,0.5,0.001,400.5,3.25"
        for e in range(1, epochs + 1)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


# history.csv


def test_history_knows_its_best_epoch(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = ["1,2,.3,2,.4,.4,.4,1e-3,9,1", "2,1,.5,1,.7,.6,.6,1e-3,9,1", "3,1,.6,1,.7,.7,.7,1e-3,9,1"]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    history = read_history(path)
    assert history.epochs == (1, 2, 3)
    assert history.best == 1  # an older file does not say: the first of two equals was kept
    assert sum(history.seconds) == 3
    path.write_text("\n".join([f"{HEADER},kept", f"{rows[0]},0", f"{rows[1]},0", f"{rows[2]},1"]) + "\n")
    assert read_history(path).best == 2


def test_a_history_from_before_balanced_accuracy_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    columns = (
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,lr,images_per_second,seconds"
    )
    path.write_text(f"{columns}\n1,2,.3,2,.4,1e-3,9,1\n2,1,.5,1,.7,1e-3,9,1\n")
    assert read_history(path).best == 1


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "no epoch"),
        (HEADER + "\n", "no epoch"),
        ("epoch,train_loss\n1,2\n", "train_accuracy"),
        (HEADER + "\n1,x,0,0,0,0,0,0\n", "'x'"),
        (HEADER + "\n1,2\n", "not 'NoneType'"),
    ],
)
def test_a_broken_history_names_file_and_cause(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        read_history(path)
    assert str(path) in error.value.message
    assert cause in error.value.message


# curves.png


def test_curves_png_is_a_picture_and_a_function_of_the_history(tmp_path: Path) -> None:
    history = history_file(tmp_path / "history.csv", 3)
    for name in ("a.png", "b.png"):
        curves_png(history, tmp_path / name, "student: $resnet18")
    first = (tmp_path / "a.png").read_bytes()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", first[16:24]) == (1500, 600)
    assert first == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "history.csv"]


def test_curves_png_names_the_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SetupError, match="matplotlib") as error:
        curves_png(history_file(tmp_path / "history.csv", 2), tmp_path / "a.png", "x")
    assert "kdtool[train]" in error.value.hint


# Mistakes


ANSWERS = Predicted(("a", "b", "b", "a", "c"), (0.9, 0.8, 0.6, 0.7, 0.95))
PREDICTIONS = Predictions(("1", "2", "3", "4", "5"), ("a", "a", "b", "b", "a"), {"student": ANSWERS})


def test_confusion_counts_rows_by_true_class() -> None:
    cells = confusion(PREDICTIONS.labels, ANSWERS, ("a", "b", "c"))
    assert [[cell.count for cell in row] for row in cells] == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert cells[0][1].share == pytest.approx(1 / 3)
    assert [row[index].correct for index, row in enumerate(cells)] == [True] * 3


def test_most_confused_pairs_are_ordered_and_limited() -> None:
    pairs = most_confused(("a", "a", "b", "c"), Predicted(("b", "b", "a", "a"), (1.0,) * 4), 2)
    assert [(p.true, p.taken_for, p.count, p.n_images) for p in pairs] == [("a", "b", 2, 2), ("b", "a", 1, 1)]


def test_class_scores_put_the_least_known_first_and_skip_what_was_not_shown() -> None:
    scores = class_accuracies(PREDICTIONS.labels, ANSWERS, teacher=Predicted(PREDICTIONS.labels, ()))
    assert [(s.name, s.n_images, s.correct, s.teacher) for s in scores] == [
        ("a", 3, 1, 1.0),
        ("b", 2, 1, 1.0),
    ]
    assert all(score.low < score.accuracy < score.high for score in scores)


def test_worst_mistakes_are_the_most_confident_ones() -> None:
    mistakes = worst_mistakes(PREDICTIONS, ANSWERS, 2)
    assert [(m.path, m.true, m.taken_for, m.probability) for m in mistakes] == [
        ("5", "a", "c", 0.95),
        ("2", "a", "b", 0.8),
    ]


# Axes and charts


@given(low=st.floats(-1e6, 1e6), width=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)))
def test_an_axis_covers_its_values_with_a_few_ticks(low: float, width: float) -> None:
    made = axis(low, low + width, 0, 100)
    invisible = 1e-6 * made.step + 1e-9 * abs(low)  # what no drawing shows
    assert made.start <= low + invisible
    assert made.stop >= low + width - invisible
    assert 2 <= len(made.ticks()) <= 9
    assert all(-0.01 <= tick.at <= 100.01 for tick in made.ticks())


@given(first=st.integers(1, 1000), more=st.integers(1, 1000))
def test_an_axis_of_epochs_has_whole_ticks_between_its_ends(first: int, more: int) -> None:
    made = axis(float(first), float(first + more), 0, 100, whole=True)
    assert (made.at(first), made.at(first + more)) == (0, 100)
    assert 1 <= len(made.ticks()) <= 9
    assert all(tick.text.isdigit() and 0 <= tick.at <= 100 for tick in made.ticks())


def test_ticks_of_shares_are_percentages() -> None:
    assert [tick.text for tick in axis(0.0, 1.0, 0, 1).ticks(percent=True)] == [
        "0\u00a0%", "20\u00a0%", "40\u00a0%", "60\u00a0%", "80\u00a0%", "100\u00a0%",
    ]  # fmt: skip
    assert axis(0.982, 0.99, 0, 1).ticks(percent=True)[0].text == "98.2\u00a0%"


@pytest.mark.parametrize("epochs", [1, 2, 3, 43])
def test_curves_stay_inside_the_drawing(tmp_path: Path, epochs: int) -> None:
    history = read_history(history_file(tmp_path / "history.csv", epochs))
    for chart in curves(history):
        assert [line.name for line in chart.lines] == ["training", "validation"]
        points = [point for line in chart.lines for point in line.points]
        assert len(points) == 2 * epochs
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
        assert chart.best in chart.lines[1].points
        assert all(tick.text.isdigit() for tick in chart.x_ticks)


def test_a_flat_curve_can_be_drawn() -> None:
    flat = History((1, 2), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0), 0)
    assert all(chart.lines[0].points for chart in curves(flat))


def test_labels_from_both_sides_do_not_meet() -> None:
    """A student and its teacher of nearly one accuracy: the usual case."""
    points = [
        Point("Student, distilled", "student fp32", 0.037, 0.996, 0.979, 0.999),
        Point("Student, INT8", "student int8", 0.037, 0.996, 0.979, 0.999),
        Point("Teacher, INT8", "teacher int8", 0.075, 0.993, 0.973, 0.998),
        Point("Teacher", "teacher fp32", 0.075, 0.989, 0.968, 0.996),
    ]
    marks = trade_off("T", "GMACs", points).marks
    assert {mark.anchor for mark in marks} == {"start", "end"}
    boxes = []
    for mark in marks:
        width = 7 * len(mark.name)
        boxes.append((mark.label_x - (width if mark.anchor == "end" else 0), width, mark.label_y))
    for (one, width, height), (other, also, below) in itertools.combinations(boxes, 2):
        assert one + width <= other or other + also <= one or abs(height - below) >= LABEL_GAP


def test_no_label_of_a_trade_off_covers_another() -> None:
    models = [Point(f"m{i}", "student fp32", 5.0, 0.9 - i / 1000, 0.85, 0.95) for i in range(5)]
    chart = trade_off("T", "ms", [*models, Point("far", "teacher fp32", 50.0, 0.91, 0.9, 0.93)])
    left = sorted(mark.label_y for mark in chart.marks if mark.anchor == "start")
    assert len(left) == 5
    assert all(after - before >= LABEL_GAP - 1e-9 for before, after in itertools.pairwise(left))
    assert len({mark.x for mark in chart.marks}) == 6  # none hides another
    assert "m0: 90.0%" in chart.description


# Formats


def test_formats() -> None:
    assert unbroken(percent(0.92351)) == "92.4\u00a0%"
    assert percent(None) == interval(None) == column(None, 1) == "–"
    assert interval((0.5, 0.754)) == "50.0–75.4"
    assert column(1_814_100_000, 1e9, 3) == "1.814"
    assert column(4_200, 1e6, 1) == "0.0042"
    assert (duration(45), duration(600), duration(9000)) == ("45 s", "10 min", "2 h 30 min")


# The command


def test_the_command_repeats_the_recipe_seed_and_source() -> None:
    recipe = load_recipe("paper", ["student.epochs=3", "student.arch=timm/x", "student.loss.temperature=2.5"])
    record = {"recipe": recipe.to_json(), "seed": 7, "source": "/tmp/my photographs"}
    words = shlex.split(command_of(record, baseline=True))
    assert words[:7] == ["kdtool", "run", "/tmp/my photographs", "--recipe", "paper", "--seed", "7"]
    assert words[-1] == "--baseline"
    overrides = [word for word in words if "=" in word]
    assert load_recipe("paper", overrides) == recipe


def test_a_recipe_of_ones_own_is_written_as_its_differences() -> None:
    recipe = load_recipe("paper", ["data.size=64", "data.resize=64"])
    record = {"recipe": recipe.to_json() | {"name": "mine"}, "seed": 0, "source": "x"}
    assert command_of(record, baseline=False) == (
        "kdtool run x --recipe paper --seed 0 --set data.size=64 --set data.resize=64"
    )
