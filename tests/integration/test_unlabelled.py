"""Photographs without labels: the teacher labels them, and nothing that is held out is among them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.commands import kdtool
from fixtures.images import write_photographs
from kdtool.core.files import sha256_file
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.pixels.joined import join
from kdtool.data.pixels.photographs import Photographs
from kdtool.data.prepare import prepare
from kdtool.data.reader import UNLABELLED, Prepared
from kdtool.data.unlabelled import FOLDER, prepare_unlabelled
from kdtool.recipe.settings import DataSettings
from kdtool.runs.stage import read_manifest

SETTINGS, RULE = DataSettings(size=32), Preprocess(32, 32)
CLASSES = ("blue", "green", "red")
TRAINING = {
    "teacher.arch": "timm/test_resnet", "teacher.weights": "none", "teacher.epochs": "2",
    "teacher.lr": "0.01", "student.arch": "timm/test_resnet", "student.epochs": "2",
    "student.lr": "0.01", "data.size": "32",
    "student.batch_size": "8", "student.augment.flip": "true", "student.augment.mixup": "0.4",
}  # fmt: skip


def mosaic(label: int, seed: int, side: int = 48) -> Image.Image:
    """Coarse noise with one bright channel; no two look alike."""
    coarse = np.random.default_rng([label, seed]).integers(0, 160, (6, 6, 3))
    coarse[..., label % 3] += 80
    return Image.fromarray(coarse.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "photos", CLASSES, {"train": 4, "validation": 2, "test": 2}, mosaic)


@pytest.fixture
def more(tmp_path: Path, photographs: Path) -> Path:
    """Five new pictures at several depths, and one of each kind that is left out."""
    root = tmp_path / "more"
    (root / "2024" / "may").mkdir(parents=True)
    for index in range(5):
        place = (root, root / "2024", root / "2024" / "may")[index % 3]
        mosaic(index, 5000 + index).save(place / f"new{index}.png")
    shutil.copy(root / "new0.png", root / "2024" / "again.png")
    shutil.copy(photographs / "train" / "red" / "0.png", root / "labelled.png")
    shutil.copy(photographs / "test" / "red" / "0.png", root / "2024" / "same.png")
    smaller = Image.open(photographs / "validation" / "blue" / "1.png").resize((40, 40))
    smaller.save(root / "resized.jpg", quality=90)  # other bytes, other pixels, the same picture
    (root / "broken.jpg").write_bytes(b"no picture")
    (root / "notes.txt").write_text("not a picture")
    return root


LEFT_OUT = {"in validation or test": 2, "in training": 1, "repeated": 1, "unreadable": 1}


def labelled(photographs: Path, folder: Path) -> Prepared:
    return prepare(str(photographs), SETTINGS, 0, folder, QUIET)[0].at(str(photographs))


def test_what_is_held_out_or_known_is_left_out_and_counted(
    tmp_path: Path, photographs: Path, more: Path
) -> None:
    known = labelled(photographs, tmp_path / "data")
    settings = SETTINGS.model_copy(update={"unlabelled": str(more)})
    found, counts = prepare_unlabelled(known, settings, tmp_path / "data" / FOLDER, QUIET)
    assert (counts.used, dict(counts.left_out)) == (5, LEFT_OUT)
    assert str(counts).startswith("5 photographs without labels; left out: 2 in validation or test")
    names = [Path(path).name for path in found.split("train").paths]
    assert sorted(names) == ["again.png", *(f"new{index}.png" for index in range(1, 5))], (
        "the first of equals"
    )
    again, same = prepare_unlabelled(known, settings, tmp_path / "data" / FOLDER, QUIET)
    assert (again.digest, same) == (found.digest, counts)


def test_the_student_alone_sees_them(tmp_path: Path, photographs: Path, more: Path) -> None:
    known = labelled(photographs, tmp_path / "data")
    settings = SETTINGS.model_copy(update={"unlabelled": str(more)})
    found, _ = prepare_unlabelled(known, settings, tmp_path / "data" / FOLDER, QUIET)
    both = replace(known, unlabelled=found)
    student = both.for_student
    assert (both.counts["train"], student.counts["train"]) == (12, 17)
    assert student.digest not in (known.digest, found.digest)
    split = student.split("train")
    assert split.labels.tolist() == [*known.split("train").labels.tolist(), *[UNLABELLED] * 5]
    everything = np.concatenate([known.split("train").images, found.split("train").images])
    assert split.images.shape == everything.shape
    for wanted in (3, 14, slice(10, 15), np.array([16, 0, 12, 12])):
        assert (split.images[wanted] == everything[wanted]).all()
    assert (student.split("test").images == known.split("test").images).all()
    assert known.for_student is known


def test_joined_images_are_decoded_ahead(photographs: Path) -> None:
    paths = sorted(photographs.rglob("*.png"))[:4]
    hashes = [sha256_file(path) for path in paths]
    later = Photographs([path.name for path in paths], hashes, [path.read_bytes for path in paths], RULE)
    join(np.zeros((3, 32, 32, 3), np.uint8), later).expect([0, 3, 6])
    assert sorted(later._under_way) == [0, 3]


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_a_student_learns_from_them(
    tmp_path: Path, photographs: Path, more: Path, cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, changes = tmp_path / "run", [f"{key}={value}" for key, value in TRAINING.items()]
    if cache == "disk":
        changes += ["student.augment.crop=0.6", "teacher.size=40", "student.features.name=fitnet"]
    words = [part for change in changes for part in ("--set", change)]
    command = ("distill", photographs, "--out", run, "--unlabelled", more, "--cache", cache, *words)
    assert kdtool(*command, "--baseline") == 0, capsys.readouterr().err
    record = json.loads((run / "run.json").read_text())
    assert record["unlabelled"] == {"folder": str(more), "used": 5, "left_out": LEFT_OUT}
    student, baseline = (read_manifest(run / role / "manifest.json") for role in ("student", "baseline"))
    assert student and baseline
    assert baseline.inputs["data"] == record["data"] != student.inputs["data"]
    capsys.readouterr()
    assert kdtool(*command, "--baseline") == 0
    said = capsys.readouterr().err
    assert "student: complete, skipped" in said and "baseline: complete, skipped" in said
    if cache == "disk":
        shutil.rmtree(more)
        assert kdtool("distill", "--out", run) == 0, "prepared once, the folder is needed no more"
        assert kdtool("distill", photographs, "--out", run, "--set", "data.unlabelled=") == 2
        assert "data.unlabelled" in capsys.readouterr().err


def test_a_folder_that_gives_nothing(
    tmp_path: Path, photographs: Path, photos: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for folder, problem in (("empty", "has no photo file"), ("nowhere", "is not a folder")):
        words = ("--unlabelled", tmp_path / folder, "--set", "teacher.weights=none", "--set", "data.size=32")
        assert kdtool("distill", photographs, "--out", tmp_path / "run", *words) == 3
        assert f"{folder} {problem}; --unlabelled takes a folder" in capsys.readouterr().err
    words = (
        "--unlabelled",
        photographs / "validation",
        "--set",
        "teacher.weights=none",
        "--set",
        "data.size=32",
    )
    assert kdtool("distill", photographs, "--out", tmp_path / "run", *words) == 3
    assert "no photograph is left" in capsys.readouterr().err
