"""Every source keeps the same contract: encoded bytes, classes from train, one owner of each DATA."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from kdtool.core.preprocess import decode
from kdtool.core.screen import QUIET
from kdtool.data.listing import SPLITS, Listing
from kdtool.data.prepare import prepare
from kdtool.data.sources import SOURCES, load_listing
from kdtool.recipe.settings import DataSettings

Photos = Callable[..., Path]


@pytest.fixture
def example(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str | None]:
    """A small DATA for each source of the table; a new source needs one here."""

    def digits() -> None:
        return None

    def folder() -> str:
        return str(photos())

    def manifest() -> str:
        root = photos()
        with (root / "list.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("path", "label"))
            rows.writerows((path.relative_to(root), path.parent.name) for path in root.rglob("*.png"))
        return str(root / "list.csv")

    def torchvision() -> str:
        from torchvision import datasets

        wnids = list(datasets.Imagenette._WNID_TO_CLASS)[:3]
        for split in ("train", "val"):
            photos(
                wnids, 3, name=f"cache/datasets/imagenette-160/imagenette2-160/{split}", side=16 + len(split)
            )
        for path in (tmp_path / "cache").rglob("*.png"):
            path.rename(path.with_suffix(".jpeg"))
        monkeypatch.setenv("KDTOOL_CACHE", str(tmp_path / "cache"))
        return "imagenette-160"

    examples = {"digits": digits, "folder": folder, "manifest": manifest, "torchvision": torchvision}
    return lambda name: examples[name]()


@pytest.mark.parametrize("name", SOURCES)
def test_listing(name: str, example: Callable[[str], str | None]) -> None:
    data = example(name)
    assert next(owner for owner, source in SOURCES.items() if source.handles(data)) == name
    listing = load_listing(data)
    assert isinstance(listing, Listing)
    assert listing.source
    assert set(listing.classes_by_split) | set(listing.carve) == set(SPLITS)
    assert not set(listing.classes_by_split) & set(listing.carve)
    assert len(listing.classes) == len(set(listing.classes)) >= 2
    assert len({sample.path for sample in listing.samples}) == len(listing.samples)
    for sample in listing.samples[:: max(1, len(listing.samples) // 20)]:
        assert sample.label in listing.classes_by_split[sample.split]
        assert not Path(sample.path).is_absolute()
        payload = sample.read()
        assert payload == sample.read()
        assert decode(payload, sample.path).mode == "RGB"
    again = load_listing(data)
    assert [(s.path, s.label, s.split) for s in again.samples] == [
        (s.path, s.label, s.split) for s in listing.samples
    ]


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "digits"])
def test_prepared(name: str, example: Callable[[str], str | None], tmp_path: Path) -> None:
    data = example(name)
    prepared, skipped = prepare(data, DataSettings(size=8), 0, tmp_path / "out", QUIET)
    assert not skipped
    assert all(prepared.counts[split] >= len(prepared.classes) for split in SPLITS)
    assert prepare(data, DataSettings(size=8), 0, tmp_path / "out", QUIET) == (prepared, True)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_nothing_is_for_no_source(name: str, tmp_path: Path) -> None:
    assert not SOURCES[name].handles(str(tmp_path / "missing"))
    assert not SOURCES[name].handles(str(tmp_path / "missing.csv"))
