"""Files of soft labels: their images, their view, and their checksum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdtool.train.teaching import shards
from kdtool.train.teaching.shards import by_view, open_view, places, shards_in, whole_shard, write_shard


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images a shard."""
    monkeypatch.setattr(shards, "IMAGES", 4)


def test_a_split_falls_into_shards_that_hold_its_images_once() -> None:
    found = places("train", 3, 10, "key")
    assert [image for place in found for image in place.images] == list(range(10))
    assert [place.name for place in found] == [
        "train-0003-0000000-key", "train-0003-0000004-key", "train-0003-0000008-key",
    ]  # fmt: skip


def test_rows_are_those_of_the_images_asked_for_in_their_order(tmp_path: Path) -> None:
    logits = np.arange(30, dtype=np.float32).reshape(10, 3)
    files = [
        write_shard(tmp_path, place, logits[place.images.start : place.images.stop])
        for place in places("train", 0, 10, "key")
    ]
    view = open_view(tmp_path, files)
    wanted = np.array([9, 0, 5, 3, 4, 5])
    np.testing.assert_array_equal(view.rows(wanted), logits[wanted])
    np.testing.assert_array_equal(view.whole()[:, 0], logits)


def test_files_are_ordered_by_view_and_place_however_they_are_listed() -> None:
    """Views are ordered as numbers: 10,000 has one digit more than the other names."""
    listed = [
        f"{split}-{view:04d}-{start:07d}-key-hash.npy"
        for split, view, start in (
            ("train", 10_000, 0), ("train", 9_999, 4), ("validation", 0, 0), ("train", 9_999, 0),
        )
    ]  # fmt: skip
    views = by_view(listed)
    assert views == {"train": [[listed[3], listed[1]], [listed[0]]], "validation": [[listed[2]]]}


def test_a_shard_is_whole_where_its_content_is_what_its_name_says(tmp_path: Path) -> None:
    (place,) = places("train", 0, 4, "key")
    file = write_shard(tmp_path, place, np.ones((4, 2), np.float32))
    found = shards_in(tmp_path)
    assert found == {place.name: tmp_path / file}
    assert whole_shard(found[place.name]) == file
    (tmp_path / file).write_bytes(b"torn")
    assert whole_shard(found[place.name]) is None
    assert whole_shard(None) is None
