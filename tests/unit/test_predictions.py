"""predictions.csv, there and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.core.errors import DataError
from kdtool.results.predictions import Predicted, Predictions, read_predictions

HOSTILE = Predictions(
    ("a,b.jpg", 'q"uote\n.png', "=1+1"),
    ("x", "y\nz", ""),
    {
        "teacher": Predicted(("x", "y\nz", ""), (0.9, 0.5, 1.0)),
        "student": Predicted(("", "x", "x"), (0.25, 0.0, 0.125)),
    },
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(HOSTILE.to_csv(), "utf-8")
    assert read_predictions(path) == HOSTILE


def test_columns_are_those_of_the_contract() -> None:
    text = Predictions(("1.png",), ("cat",), {"student": Predicted(("dog",), (2 / 3,))}).to_csv()
    assert text == "path,label,student,student_probability\n1.png,cat,dog,0.666667\n"


def test_predictions_are_read_with_every_model(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(
        'path,label,teacher,teacher_probability,student,student_probability\n"a,b.jpg",x,x,.9,"y\nz",.5\n'
    )
    predictions = read_predictions(path)
    assert predictions.paths == ("a,b.jpg",)
    teacher, student = Predicted(("x",), (0.9,)), Predicted(("y\nz",), (0.5,))
    assert predictions.models == {"teacher": teacher, "student": student}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "path,label\n",
        "label,path\na,b\n",
        "path,label,student\n1,a,a\n",
        "path,label,student,student_probability\n1,a,a,much\n",
        "path,label,student,student_probability\n1,a\n",
    ],
)
def test_broken_predictions_name_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"predictions\.csv") as error:
        read_predictions(path)
    assert "kdtool bench" in error.value.hint
