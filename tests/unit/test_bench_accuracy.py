"""From logits to answers."""

from __future__ import annotations

import numpy as np
import pytest

from kdtool.benchmark.accuracy import _answers


def test_answers_are_the_softmax_at_the_largest_logit() -> None:
    answers = _answers(np.log(np.array([[1, 3], [9, 1]], np.float32)))
    assert answers.predicted.tolist() == [1, 0]
    assert answers.probability == pytest.approx([0.75, 0.9])
    assert answers.correct(np.array([1, 1])).tolist() == [True, False]
    assert len(_answers(np.empty((0, 2), np.float32)).predicted) == 0
