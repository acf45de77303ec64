"""The embedded digits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kdtool.core.errors import SetupError
from kdtool.core.preprocess import decode
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.sources import load_listing
from kdtool.recipe.settings import DataSettings


def test_they_are_scikit_learns() -> None:
    listing = load_listing(None)
    assert len(listing.samples) == len(load_listing("digits").samples) == 1797
    assert listing.classes == tuple("0123456789")
    digits = load_digits()
    for index in (0, 1000, 1796):
        sample = listing.samples[index]
        assert sample.label == str(digits.target[index])
        grey = np.asarray(decode(sample.read(), sample.path))[..., 0]
        np.testing.assert_array_equal(grey, np.rint(digits.images[index] * 255 / 16))


def test_prepared_and_stratified(tmp_path: object) -> None:
    prepared, _ = prepare(None, DataSettings(size=8), 0, tmp_path / "out", QUIET)
    assert sum(prepared.counts.values()) == 1797
    for name, part in (("validation", 0.15), ("test", 0.15)):
        held = Counter(prepared.split(name).labels.tolist())
        for label, total in Counter(load_digits().target.tolist()).items():
            assert held[label] == round(part * total)
    hashes = [set(prepared.split(name).hashes) for name in ("train", "validation", "test")]
    assert not hashes[0] & hashes[1] and not hashes[0] & hashes[2] and not hashes[1] & hashes[2]


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(SetupError, match=r"The data set 'digits' needs the package 'scikit-learn'") as caught:
        load_listing(None)
    assert "kdtool[train]" in caught.value.hint
