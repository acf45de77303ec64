"""Reading a folder of class folders, however it is named, nested, linked or littered."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdtool.core.errors import DataError, SetupError, UsageError
from kdtool.core.screen import QUIET
from kdtool.data.scan import scan
from kdtool.data.sources import default_recipe, load_listing, resolve
from kdtool.recipe.settings import DataSettings

Photos = Callable[..., Path]
ONE_EACH = {"train": 1, "validation": 1, "test": 1}


def splits_of(root: Path) -> dict[str, int]:
    samples = load_listing(str(root)).samples
    return {split: sum(s.split == split for s in samples) for split in ("train", "validation", "test")}


@pytest.mark.parametrize("train", ["train", "training", "Train", "TRAINING"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev", "Valid"])
@pytest.mark.parametrize("test", ["test", "testing"])
def test_usual_names_of_splits(photos: Photos, train: str, validation: str, test: str) -> None:
    root = photos(splits={train: 3, validation: 2, test: 1})
    assert splits_of(root) == {"train": 9, "validation": 6, "test": 3}
    listing = load_listing(str(root))
    assert listing.carve == ()
    assert listing.classes == ("checks", "rings", "stripes")
    assert listing.samples[0].path == f"{train}/checks/000.png"
    assert listing.samples[0].read() == (root / train / "checks" / "000.png").read_bytes()


@pytest.mark.parametrize(
    ("splits", "carve"),
    [
        ({"train": 1, "val": 1}, ("test",)),
        ({"train": 1, "test": 1}, ("validation",)),
        ({"train": 1}, ("validation", "test")),
        (None, ("validation", "test")),
    ],
)
def test_splits_that_are_not_there_are_carved(
    photos: Photos, splits: dict[str, int] | None, carve: tuple[str, ...]
) -> None:
    assert load_listing(str(photos(splits=splits))).carve == carve


def test_a_class_may_be_called_train(photos: Photos) -> None:
    listing = load_listing(str(photos(classes=("bus", "car", "train"))))
    assert listing.classes == ("bus", "car", "train")
    assert listing.carve == ("validation", "test")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": 1, "eval": 1}, "'eval' can mean the validation or the test split"),
        ({"train": 1, "val": 1, "valid": 1}, "'val' and 'valid' both name the validation split"),
        ({"test": 1, "val": 1}, "no folder for training; allowed are 'train' and 'training'"),
        ({"train": 1, "extra": 1}, "split folders .'train'. stand beside other folders .'extra'."),
    ],
)
def test_ambiguous_splits(photos: Photos, splits: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_listing(str(photos(splits=splits)))
    assert caught.value.hint


def test_what_is_no_picture_is_ignored_and_counted(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    for name in (
        ".DS_Store", "a/.hidden.png", "a/Thumbs.db", "b/notes.txt", "b/more.TXT", "b/README",
        "loose.jpg", "a/__MACOSX/x.png", ".git/x.png",
    ):  # fmt: skip
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    listing = load_listing(str(root))
    assert [sample.path for sample in listing.samples] == ["a/000.png", "b/000.png"]
    assert listing.ignored == {
        "hidden": 5,
        ".txt": 2,
        "no extension": 1,
        "picture outside a class folder": 1,
    }


def test_loose_files_beside_the_splits_are_counted_once(photos: Photos) -> None:
    root = photos(splits=ONE_EACH)
    (root / "LICENSE").write_text("free")
    (root / "train" / "list.csv").write_text("x")
    assert load_listing(str(root)).ignored == {".csv": 1, "no extension": 1}


def test_folders_inside_a_class_are_walked(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    (root / "a" / "2024" / "may").mkdir(parents=True)
    (root / "a" / "000.png").rename(root / "a" / "2024" / "may" / "x.png")
    assert [sample.path for sample in load_listing(str(root)).samples] == ["a/2024/may/x.png", "b/000.png"]


def test_links_in_a_circle_end(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "broken.png").symlink_to(root / "nowhere.png")
    listing = load_listing(str(root))
    assert [sample.path for sample in listing.samples] == ["a/000.png", "a/broken.png", "b/000.png"]
    assert listing.ignored == {"link to a folder already seen": 2}


def test_a_split_may_be_a_link_and_is_seen_as_the_leak_it_is(photos: Photos) -> None:
    root = photos(splits={"train": 2})
    (root / "val").symlink_to(root / "train")
    assert splits_of(root) == {"train": 6, "validation": 6, "test": 0}


@pytest.mark.parametrize(
    "name", ["Käse 猫 🐱", 'a b, "c"', "x" * 255, "=1+1", "<script>", "a\nb", ".".join("ab")]
)
def test_names_are_data(photos: Photos, name: str) -> None:
    root = photos(classes=(name, "other"), per_class=1)
    listing = load_listing(str(root))
    assert set(listing.classes) == {name, "other"}
    assert f"{name}/000.png" in [sample.path for sample in listing.samples]


def test_a_name_that_is_not_utf8_can_be_written(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    latin = os.fsencode(root / "a") + b"/caf\xe9.png"
    (root / "a" / "000.png").rename(os.fsdecode(latin))
    sample = load_listing(str(root)).samples[0]
    assert sample.path == "a/caf\\xe9.png"
    assert sample.read()


def test_the_order_is_not_that_of_the_file_system(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(photos())
    expected = [sample.path for sample in load_listing(root).samples]
    forward = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(forward(self))))
    assert [sample.path for sample in load_listing(root).samples] == expected


def test_a_folder_that_cannot_be_read(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos()

    def refuse(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SetupError, match=r"Cannot read the folder .*photos: Permission denied"):
        load_listing(str(root))


@pytest.mark.parametrize("function", [load_listing, resolve, default_recipe])
def test_nothing_that_is_known(tmp_path: Path, function: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match=r"no such folder, manifest") as caught:
        function(str(tmp_path / "missing"))
    assert "cifar10" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        function("imagenete")
    assert caught.value.hint == "Did you mean 'imagenette'?"


def test_data_as_it_is_recorded(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos()
    monkeypatch.chdir(root.parent)
    assert resolve(None) == resolve("digits") == "digits"
    assert resolve("mnist") == "mnist"
    assert resolve(root.name) == resolve(f"./{root.name}/") == str(root.resolve())


def test_the_recipe_that_goes_with_data(photos: Photos) -> None:
    assert default_recipe(None) == default_recipe("digits") == "digits"
    assert default_recipe("mnist") == default_recipe(str(photos())) == "paper"


@pytest.mark.parametrize("function", [load_listing, resolve, default_recipe])
def test_data_that_is_not_utf8_cannot_be_recorded(
    photos: Photos, tmp_path: Path, function: Callable[[str], object]
) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    photos().rename(name)
    with pytest.raises(UsageError, match=r"caf\\udce9: the path is not UTF-8") as caught:
        function(name)
    assert "ln -s" in caught.value.hint


def test_a_working_folder_that_is_not_utf8_cannot_be_recorded(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    photos().rename(name)
    monkeypatch.chdir(name)
    with pytest.raises(UsageError, match=r"the path is not UTF-8"):
        resolve(".")


def test_two_classes_that_are_written_the_same(photos: Photos) -> None:
    root = photos(classes=("caf\\xe9", "other"), per_class=2)
    twin = Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))
    (root / "other").rename(twin)
    found = scan(load_listing(str(root)), DataSettings(size=8), 0, QUIET)
    assert "train has 2 classes that are written 'caf\\\\xe9'." in [f.text for f in found.findings]


def test_a_pipe_is_no_picture(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    os.mkfifo(root / "a" / "x.jpg")
    (root / "b" / "link.jpg").symlink_to(root / "a" / "x.jpg")
    (root / "b" / "null.png").symlink_to("/dev/null")
    (root / "b" / "good.png").symlink_to(root / "b" / "000.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "a" / "s.png"))
    listing = load_listing(str(root))
    assert [sample.path for sample in listing.samples] == ["a/000.png", "b/000.png", "b/good.png"]
    assert listing.ignored == {"no regular file": 4}


def test_folders_may_be_deeper_than_the_interpreter_recurses(photos: Photos) -> None:
    root = photos(classes=("a", "b"), per_class=1)
    deep = root / "a" / Path(*["d"] * 400)
    deep.mkdir(parents=True)
    (root / "a" / "000.png").rename(deep / "x.png")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        listing = load_listing(str(root))
    finally:
        sys.setrecursionlimit(usual)
    assert listing.samples[0].path.endswith("d/d/x.png")
