"""The list of mutants does not rot: each is a change of what stands in the package now."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from campaigns.mutants import TESTS, mutated
from campaigns.mutations import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_changes_one_place_and_is_still_python(mutant: Mutant) -> None:
    ast.parse(mutated(mutant))
    assert mutant.wrong != mutant.right
    assert all((TESTS / test).is_file() for test in mutant.tests)


def test_there_are_many_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) >= 100
    assert max(Counter((mutant.file, mutant.right, mutant.wrong) for mutant in MUTANTS).values()) == 1
