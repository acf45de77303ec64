"""Data sets by name, which torchvision downloads with its checksums into a cache folder.

A data set is downloaded and unpacked beside its final folder, then moved there by one rename. So a folder in
the cache is complete. The cache is $KDTOOL_CACHE/datasets, by default ~/.cache/kdtool/datasets.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kdtool.core.errors import LockedError, SetupError, missing_extra
from kdtool.core.text import cause_of
from kdtool.data.listing import SPLITS, Listing, Sample
from kdtool.data.sources.encode import png_of_image
from kdtool.runs.lock import run_lock

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    """One data set of torchvision.

    Attributes:
        kind: name of the class in `torchvision.datasets`.
        splits: split of kdtool → arguments that choose it; a missing split is carved out of train.
        files: True if the data set consists of photo files, which are read without change.
    """

    kind: str
    splits: Mapping[str, Arguments]
    files: bool = False


_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_SPLIT_TRAIN_TEST = {"train": {"split": "train"}, "test": {"split": "test"}}
_ALL_SPLITS = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}


def _imagenette(size: str) -> Dataset:
    # Published figures are measured on "val": here it is the test split, which chooses no weights.
    splits = {"train": {"split": "train", "size": size}, "test": {"split": "val", "size": size}}
    return Dataset("Imagenette", splits, files=True)


DATASETS: dict[str, Dataset] = {
    "cifar10": Dataset("CIFAR10", _TRAIN_TEST),
    "cifar100": Dataset("CIFAR100", _TRAIN_TEST),
    "dtd": Dataset("DTD", _ALL_SPLITS, files=True),
    "fashion-mnist": Dataset("FashionMNIST", _TRAIN_TEST),
    "fgvc-aircraft": Dataset("FGVCAircraft", _ALL_SPLITS, files=True),
    "flowers102": Dataset("Flowers102", _ALL_SPLITS, files=True),
    "food101": Dataset("Food101", _SPLIT_TRAIN_TEST, files=True),
    "imagenette": _imagenette("full"),
    "imagenette-160": _imagenette("160px"),
    "imagenette-320": _imagenette("320px"),
    "kmnist": Dataset("KMNIST", _TRAIN_TEST),
    "mnist": Dataset("MNIST", _TRAIN_TEST),
    "oxford-pets": Dataset(
        "OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}, files=True
    ),
    "stl10": Dataset("STL10", _SPLIT_TRAIN_TEST),
}


def handles(data: str | None) -> bool:
    """True if DATA names a data set of torchvision."""
    return data in DATASETS


def load(data: str | None) -> Listing:
    """List the samples of a data set; download it first if needed.

    Raises:
        SetupError: torchvision is missing, there is no network, the checksum does not fit, or the files in
            the cache are damaged.
        LockedError: another process is downloading the data set.
    """
    name = str(data)
    dataset = DATASETS[name]
    try:
        from torchvision import datasets
    except ImportError as error:
        raise missing_extra("torchvision", f"The data set '{name}'") from error
    kind = getattr(datasets, dataset.kind)
    root = cache_folder() / name
    if not root.is_dir():
        with _only_one(name, root):
            if not root.is_dir():  # otherwise another process was faster
                _download(kind, dataset, name, root)
    samples: list[Sample] = []
    classes_by_split = {}
    for split, arguments in dataset.splits.items():
        opened = _open(kind, name, root, arguments)
        classes = tuple(_class_name(entry) for entry in opened.classes)
        classes_by_split[split] = classes
        items = _files(opened, root) if dataset.files else _images(opened, split)
        samples += [Sample(path, classes[label], split, read) for path, label, read in items]
    carve = tuple(split for split in SPLITS if split not in dataset.splits)
    return Listing(name, tuple(samples), classes_by_split, carve)


def missing(data: str | None) -> Path | None:
    """Return the folder that a data set by name would be downloaded to; None if nothing has to be."""
    if not handles(data):
        return None
    root = cache_folder() / str(data)
    return None if root.is_dir() else root


def cache_folder() -> Path:
    """Return the folder of downloaded data sets."""
    cache = os.environ.get("KDTOOL_CACHE") or str(Path.home() / ".cache" / "kdtool")
    return Path(cache) / "datasets"


@contextlib.contextmanager
def _only_one(name: str, root: Path) -> Iterator[None]:
    """Hold a lock, so that one process at a time downloads the data set."""
    try:
        with run_lock(root.with_name(f".{name}.lock")):
            yield
    except LockedError as error:
        raise LockedError(
            f"The data set '{name}' is being downloaded: {error.message}",
            "Wait until the download ends, then run the same command again.",
        ) from error


def _open(kind: Callable[..., Any], name: str, root: Path, arguments: Arguments) -> Any:
    try:
        return kind(root=root, **arguments)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each data set raises other errors for a damaged file
        raise SetupError(
            f"The data set '{name}' in {root} is incomplete or damaged ({cause_of(error)}).",
            "Delete that folder, then run the same command again, which downloads the data set: "
            f"rm -r {shlex.quote(str(root))}",
        ) from error


def _download(kind: Callable[..., Any], dataset: Dataset, name: str, root: Path) -> None:
    partial_root = root.with_name(f".{name}.partial")
    try:
        shutil.rmtree(partial_root, ignore_errors=True)  # left by a process that was killed
        partial_root.mkdir(parents=True)
        for arguments in dataset.splits.values():
            kind(root=partial_root, download=True, **arguments)
        os.sync()  # all files must be on the disk before the name that says they are complete
        partial_root.rename(root)
    except (OSError, RuntimeError) as error:  # torchvision raises RuntimeError if a checksum is wrong
        raise SetupError(
            f"The data set '{name}' could not be downloaded ({cause_of(error)}); no part of it was kept.",
            f"Check the network and the free space under {root.parent}, or give your own folder as DATA.",
        ) from error
    finally:
        shutil.rmtree(partial_root, ignore_errors=True)


def _class_name(entry: str | tuple[str, ...]) -> str:
    return entry if isinstance(entry, str) else entry[0]  # Imagenette has a tuple of synonyms


def _files(opened: Any, root: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Give (path shown, label, read) for each photo file of a data set, without decoding any."""
    if hasattr(opened, "loader"):
        opened.loader = Path  # each item is then the path of a photo file, not a decoded image
    else:
        opened = list(zip(opened._images, opened._labels, strict=True))  # only Oxford pets has no loader
    for index in range(len(opened)):
        path, label = opened[index]
        yield Path(path).relative_to(root).as_posix(), int(label), Path(path).read_bytes


def _images(opened: Any, split: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Give (path shown, label, read) for each image of a data set of arrays."""
    for index in range(len(opened)):
        yield f"{split}/{index:05d}.png", int(opened[index][1]), partial(_encode, opened, index)


def _encode(opened: Any, index: int) -> bytes:
    return png_of_image(opened[index][0])
