"""From photographs to Prepared: keyed by content, verified, rebuilt when torn, the same bytes each time."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.screens import Recorder
from kdtool.core.errors import DataError, SetupError
from kdtool.core.files import sha256_file
from kdtool.core.preprocess import decode
from kdtool.core.screen import QUIET
from kdtool.data import prepare as prepare_module
from kdtool.data import writer
from kdtool.data.carve import planned_counts
from kdtool.data.prepare import prepare, unchanged
from kdtool.data.reader import Prepared, open_prepared
from kdtool.data.sources import load_listing
from kdtool.recipe.settings import DataSettings

Photos = Callable[..., Path]
SPLITS = {"train": 4, "validation": 2, "test": 2}
SETTINGS = DataSettings(size=16)
FILES = ["data.json", "manifest.json", "samples.csv", "test.npy", "train.npy", "validation.npy"]


def run(
    source: Path, folder: Path, settings: DataSettings = SETTINGS, seed: int = 0
) -> tuple[Prepared, bool]:
    return prepare(str(source), settings, seed, folder, QUIET)


def test_pixels_labels_paths_and_hashes(photos: Photos, tmp_path: Path) -> None:
    root = photos(splits=SPLITS, side=20)
    prepared, skipped = run(root, tmp_path / "out", DataSettings(size=8, resize=12, interpolation="bicubic"))
    assert not skipped
    assert prepared.classes == ("checks", "rings", "stripes")
    assert prepared.counts == {"train": 12, "validation": 6, "test": 6}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    for name, per_class in SPLITS.items():
        split = prepared.split(name)
        assert split.name == name
        assert split.images.shape == (per_class * 3, 8, 8, 3)
        assert not split.images.flags.writeable
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == sorted(list(range(3)) * per_class)
        for image, path, label in zip(split.images, split.paths, split.labels, strict=True):
            assert Path(path).parts[1] == prepared.classes[label]
            picture = decode((root / path).read_bytes(), path)
            np.testing.assert_array_equal(image, prepared.preprocess.pixels(picture))
    pixels = np.asarray(prepared.split("train").images, dtype=np.float64) / 255
    np.testing.assert_allclose(prepared.preprocess.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(prepared.preprocess.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    assert open_prepared(tmp_path / "out") == prepared


def test_the_same_twice_is_skipped_and_elsewhere_the_same_bytes(photos: Photos, tmp_path: Path) -> None:
    root = photos()
    first, _ = run(root, tmp_path / "a")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    again, skipped = run(root, tmp_path / "a")
    assert skipped and again == first
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    run(root, tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def grey_instead(root: Path) -> None:
    Image.new("RGB", (24, 24), (9, 9, 9)).save(root / "checks" / "000.png")


def rename_class(root: Path) -> None:
    (root / "checks").rename(root / "boards")


@pytest.mark.parametrize(
    "change", [grey_instead, rename_class, lambda root: (root / "checks" / "005.png").unlink()]
)
def test_other_content_is_another_digest(
    photos: Photos, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = photos()
    before, _ = run(root, tmp_path / "out")
    stat = (root / "checks" / "000.png").stat()
    change(root)
    if (root / "checks" / "000.png").exists():
        os.utime(root / "checks" / "000.png", (stat.st_atime, stat.st_mtime))
    after, skipped = run(root, tmp_path / "out")
    assert not skipped
    assert after.digest != before.digest


@pytest.mark.parametrize(
    "fields", [{"size": 17}, {"resize": 20}, {"interpolation": "bicubic"}, {"test_fraction": 0.4}]
)
def test_other_settings_are_another_digest(photos: Photos, tmp_path: Path, fields: dict[str, object]) -> None:
    root = photos()
    before, _ = run(root, tmp_path / "out")
    after, skipped = run(root, tmp_path / "out", SETTINGS.model_copy(update=fields))
    assert not skipped
    assert after.digest != before.digest


def test_the_seed_matters_only_where_something_is_carved(photos: Photos, tmp_path: Path) -> None:
    flat, split = photos(per_class=12, name="flat"), photos(splits=SPLITS, name="split")
    assert run(flat, tmp_path / "a", seed=0)[0].digest != run(flat, tmp_path / "a", seed=1)[0].digest
    run(split, tmp_path / "b", seed=0)
    assert run(split, tmp_path / "b", seed=1)[1]
    assert run(split, tmp_path / "b", SETTINGS.model_copy(update={"test_fraction": 0.3}))[1]


def test_a_renamed_file_is_the_same_data_under_another_path(photos: Photos, tmp_path: Path) -> None:
    root = photos(splits=SPLITS)
    before, _ = run(root, tmp_path / "out")
    (root / "train" / "checks" / "000.png").rename(root / "train" / "checks" / "0.png")
    after, skipped = run(root, tmp_path / "out")
    assert not skipped
    assert after.digest == before.digest
    assert "train/checks/0.png" in after.split("train").paths


def cut(folder: Path) -> None:
    os.truncate(folder / "train.npy", 500)


def flip(folder: Path) -> None:
    content = bytearray((folder / "test.npy").read_bytes())
    content[-1] ^= 1
    (folder / "test.npy").write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda folder: (folder / "samples.csv").unlink()])
def test_what_is_damaged_is_refused_and_rebuilt(
    photos: Photos, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    root, folder = photos(), tmp_path / "out"
    before, _ = run(root, folder)
    damage(folder)
    with pytest.raises(DataError, match=r"is damaged"):
        open_prepared(folder)
    after, skipped = run(root, folder)
    assert not skipped and after == before
    open_prepared(folder)


@pytest.mark.parametrize("content", [None, "", "{}", '{"schema": 99}'])
def test_half_written_is_refused_and_rebuilt(photos: Photos, tmp_path: Path, content: str | None) -> None:
    root, folder = photos(), tmp_path / "out"
    run(root, folder)
    (folder / "manifest.json").unlink()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    (folder / ".train.npy.1.partial").write_bytes(b"left by a killed process")
    with pytest.raises(DataError, match=r"no complete prepared data here"):
        open_prepared(folder)
    assert not run(root, folder)[1]
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_what_this_version_cannot_read_is_made_again(photos: Photos, tmp_path: Path) -> None:
    root, folder = photos(), tmp_path / "out"
    before, _ = run(root, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for content, again in (({"schema": 99}, True), (without_place(folder), False)):
        (folder / "data.json").write_text(json.dumps(content))
        manifest["files"]["data.json"] = sha256_file(folder / "data.json")
        (folder / "manifest.json").write_text(json.dumps(manifest))
        after, skipped = run(root, folder)
        assert after == before and skipped != again


def without_place(folder: Path) -> dict[str, object]:
    """data.json as it was before photographs could be decoded in each epoch."""
    content = json.loads((folder / "data.json").read_text())
    return {name: value for name, value in content.items() if name != "photographs"}


def test_killed_while_writing_is_not_complete(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, folder = photos(), tmp_path / "out"
    run(root, folder)
    grey_instead(root)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            run(root, folder)
    with pytest.raises(DataError):
        open_prepared(folder)
    assert not run(root, folder)[1]


def test_findings_stop_it_and_leave_what_was_there(photos: Photos, tmp_path: Path) -> None:
    root, folder = photos(), tmp_path / "out"
    before, _ = run(root, folder)
    (root / "checks" / "000.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"checks/000.png: not a readable image"):
        run(root, folder)
    assert open_prepared(folder) == before
    after, _ = run(root, folder, SETTINGS.model_copy(update={"skip_bad": True}))
    assert sum(after.counts.values()) == 17
    left_out = json.loads((folder / "data.json").read_text("utf-8"))["left_out"]
    assert [entry["path"] for entry in left_out] == ["checks/000.png"]
    assert len(left_out[0]["sha256"]) == 64


def test_a_full_disk_is_a_setup_error_and_leaves_nothing(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.Pixels, "add", full)
    with pytest.raises(SetupError, match=r"No space left on device"):
        run(photos(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_that_changes_under_the_scan_is_noticed(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos()
    hashed = prepare_module.hash_samples

    def then_change(*arguments: object) -> list[str]:
        hashes = hashed(*arguments)
        grey_instead(root)
        return hashes

    monkeypatch.setattr(prepare_module, "hash_samples", then_change)
    with pytest.raises(DataError, match=r"checks/000.png changed while it was read"):
        run(root, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("name", ['a "b", c', "Käse 🐱", "a\nb", "a\r\nb", "'", "=1+1", " x "])
def test_hostile_names_survive(photos: Photos, tmp_path: Path, name: str) -> None:
    root = photos(classes=("plain", name), per_class=4)
    prepared, _ = run(root, tmp_path / "out")
    assert set(prepared.classes) == {"plain", name}
    paths = {path for split in SPLITS for path in prepared.split(split).paths}
    assert paths == {f"{label}/{index:03d}.png" for label in ("plain", name) for index in range(4)}


def test_samples_csv(prepared: Prepared) -> None:
    with (prepared.folder / "samples.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["split", "index", "path", "label", "sha256"]
    assert [row["index"] for row in rows if row["split"] == "test"] == [str(i) for i in range(12)]
    assert {row["label"] for row in rows} == set(prepared.classes)


def test_test_is_not_opened_by_the_others(prepared: Prepared) -> None:
    (prepared.folder / "test.npy").unlink()
    assert len(prepared.split("train").images) == 24
    assert len(prepared.split("validation").images) == 12


def test_no_such_split(prepared: Prepared) -> None:
    with pytest.raises(DataError, match=r"no split 'val'; allowed is one of train, validation, test"):
        prepared.split("val")


def test_a_data_json_of_another_version(prepared: Prepared) -> None:
    from kdtool.data.reader import read_prepared

    path = prepared.folder / "data.json"
    path.write_text(path.read_text("utf-8").replace('"schema": 1', '"schema": 2'), "utf-8")
    with pytest.raises(DataError, match=r"data.json cannot be read .written by another version"):
        read_prepared(prepared.folder)


def test_the_user_is_told_what_was_decided(photos: Photos, tmp_path: Path) -> None:
    root = photos(splits={"train": 6, "test": 2})
    (root / "train" / "checks" / "notes.txt").write_text("x")
    screen = Recorder()
    prepare(str(root), SETTINGS, 0, tmp_path / "out", screen)
    counts = "3 classes; 15 train, 3 validation, 6 test images of 16 × 16"
    assert screen.said == [
        f"{root}: there is no validation split; 15% of train is taken for it (stratified, seeded)",
        f"{root}: ignored 1 × .txt",
        f"prepare: {counts}",
    ]
    screen.said.clear()
    prepare(str(root), SETTINGS, 0, tmp_path / "out", screen)
    assert screen.said == [f"prepare: complete, skipped ({counts})"]


def test_the_user_is_told_that_the_photographs_changed(photos: Photos, tmp_path: Path) -> None:
    root, folder, screen = photos(splits=SPLITS), tmp_path / "out", Recorder()
    run(root, folder)
    os.utime(folder / "manifest.json", (86_400 * 366, 86_400 * 366))
    grey_instead(root / "train")
    prepare(str(root), SETTINGS, 0, folder, screen)
    assert screen.said[0].startswith("prepare: the photographs changed since 1971-01-0")
    assert screen.said[0].endswith("; preparing again")
    screen.said.clear()
    prepare(str(root), DataSettings(size=8), 0, folder, screen)  # other settings, the same photographs
    assert len(screen.said) == 1


def test_unchanged_is_what_would_be_skipped(photos: Photos, tmp_path: Path) -> None:
    root, folder = photos(), tmp_path / "out"
    assert not unchanged(str(root), SETTINGS, 0, folder, QUIET)
    run(root, folder)
    moved = shutil.move(root, tmp_path / "elsewhere")
    assert unchanged(str(moved), SETTINGS, 0, folder, QUIET)
    assert not unchanged(str(moved), SETTINGS, 1, folder, QUIET)
    assert not unchanged(str(moved), DataSettings(size=8), 0, folder, QUIET)
    grey_instead(moved)
    assert not unchanged(str(moved), SETTINGS, 0, folder, QUIET)


@pytest.mark.parametrize("splits", [None, {"train": 9, "test": 2}, {"train": 9, "val": 2}, SPLITS])
@pytest.mark.parametrize("test_fraction", [0.01, 0.15, 0.6])
def test_planned_counts_are_those_prepared(
    photos: Photos, tmp_path: Path, splits: dict[str, int] | None, test_fraction: float
) -> None:
    root = photos(per_class=7, splits=splits)
    fields = DataSettings(size=8, test_fraction=test_fraction)
    planned = planned_counts(load_listing(str(root)), fields, 3)
    assert planned == run(root, tmp_path / "out", fields, 3)[0].counts


@pytest.mark.parametrize("name", [b"caf\xe9", b"x.caf\xe9"])
def test_names_that_are_not_utf8_survive(photos: Photos, tmp_path: Path, name: bytes) -> None:
    root = photos(per_class=4)
    (root / "checks").rename(os.fsdecode(os.fsencode(root / "renamed-") + name))
    first = next(root.glob("renamed*"))
    (first / "000.png").rename(os.fsdecode(os.fsencode(first) + b"/" + name + b".png"))
    (root / "rings" / os.fsdecode(name)).write_bytes(b"ignored")
    prepared, _ = run(root, tmp_path / "out")
    shown = name.decode("utf-8", "backslashreplace")
    assert f"renamed-{shown}" in prepared.classes
    paths = [path for split in SPLITS for path in prepared.split(split).paths]
    assert f"renamed-{shown}/{shown}.png" in paths
    assert run(root, tmp_path / "out")[1]


def test_the_photographs_may_be_gone_afterwards(photos: Photos, tmp_path: Path) -> None:
    root = photos()
    prepared, _ = run(root, tmp_path / "out")
    shutil.rmtree(root)
    assert open_prepared(tmp_path / "out") == prepared
