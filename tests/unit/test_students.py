"""The table of networks: its figures are counted, and the document has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import thop
import torch

from kdtool.arch.network import build, parameter_count
from kdtool.recipe.students import STUDENTS, TEACHERS, Candidate

NETWORKS = (*STUDENTS, *TEACHERS)


@pytest.mark.parametrize("candidate", NETWORKS, ids=[one.arch for one in NETWORKS])
def test_the_figures_of_a_network_are_its_own(candidate: Candidate) -> None:
    network = build(candidate.arch, 1000, 224).eval()
    assert parameter_count(network) == candidate.params
    macs, _ = thop.profile(network, (torch.zeros(1, 3, 224, 224),), verbose=False)
    assert macs == pytest.approx(candidate.macs, rel=0.01)


def test_the_document_has_the_table() -> None:
    text = (Path(__file__).parents[2] / "models" / "README.md").read_text("utf-8")
    for candidate in NETWORKS:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{candidate.arch}` |"))
        assert f"| {candidate.params / 1e6:.2f} | {candidate.macs / 1e9:.3f} | {candidate.imagenet} (" in row
        assert candidate.licence in row
        assert candidate.source in row
