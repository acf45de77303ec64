"""Data sets by name, downloaded by torchvision with its checksums into a cache folder.

A data set is downloaded and unpacked beside its place and put there by one rename: what is there
is complete. The cache is $KDTOOL_CACHE/datasets, by default ~/.cache/kdtool/datasets.
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
        kind: name of its class in `torchvision.datasets`.
        splits: our split → the arguments that choose it; a split that is not there is carved from train.
        files: whether it consists of image files, which are then read as they are.
    """

    kind: str
    splits: Mapping[str, Arguments]
    files: bool = False


_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_SPLIT_TRAIN_TEST = {"train": {"split": "train"}, "test": {"split": "test"}}
_ALL_SPLITS = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}


def _imagenette(size: str) -> Dataset:
    # Its "val" is the part that published figures are measured on: our test split, never selected by.
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
    """Whether DATA names a data set of torchvision."""
    return data in DATASETS


def load(data: str | None) -> Listing:
    """Download where needed, and list.

    Raises:
        SetupError: torchvision is missing, there is no network, the checksum does not fit, or what is
            in the cache is damaged.
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
            if not root.is_dir():  # else another process was faster
                _download(kind, dataset, name, root)
    samples: list[Sample] = []
    classes_by_split = {}
    for split, arguments in dataset.splits.items():
        opened = _open(kind, name, root, arguments)
        classes = tuple(_class_name(entry) for entry in opened.classes)
        classes_by_split[split] = classes
        items = _files(opened, root) if dataset.files else _pictures(opened, split)
        samples += [Sample(path, classes[label], split, read) for path, label, read in items]
    carve = tuple(split for split in SPLITS if split not in dataset.splits)
    return Listing(name, tuple(samples), classes_by_split, carve)


def cache_folder() -> Path:
    """The folder of downloaded data sets."""
    cache = os.environ.get("KDTOOL_CACHE") or str(Path.home() / ".cache" / "kdtool")
    return Path(cache) / "datasets"


@contextlib.contextmanager
def _only_one(name: str, root: Path) -> Iterator[None]:
    """One process at a time downloads a data set."""
    try:
        with run_lock(root.with_name(f".{name}.lock")):
            yield
    except LockedError as error:
        raise LockedError(
            f"The data set '{name}' is being downloaded: {error.message}",
            "Wait for that to end, then run the same command again.",
        ) from error


def _open(kind: Callable[..., Any], name: str, root: Path, arguments: Arguments) -> Any:
    try:
        return kind(root=root, **arguments)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each data set has its own way to stumble over a damaged file
        raise SetupError(
            f"The data set '{name}' in {root} is incomplete or damaged ({cause_of(error)}).",
            f"Delete that folder and run the same command again, which downloads it: "
            f"rm -r {shlex.quote(str(root))}",
        ) from error


def _download(kind: Callable[..., Any], dataset: Dataset, name: str, root: Path) -> None:
    partial_root = root.with_name(f".{name}.partial")
    try:
        shutil.rmtree(partial_root, ignore_errors=True)  # of a process that was killed
        partial_root.mkdir(parents=True)
        for arguments in dataset.splits.values():
            kind(root=partial_root, download=True, **arguments)
        os.sync()  # the thousands of files first, at once; then the name that says they are all there
        partial_root.rename(root)
    except (OSError, RuntimeError) as error:  # torchvision says RuntimeError where the checksum is wrong
        raise SetupError(
            f"The data set '{name}' could not be downloaded ({cause_of(error)}); nothing of it was kept.",
            f"Check the network and the space under {root.parent}, or give a folder of your own as DATA.",
        ) from error
    finally:
        shutil.rmtree(partial_root, ignore_errors=True)


def _class_name(entry: str | tuple[str, ...]) -> str:
    return entry if isinstance(entry, str) else entry[0]  # Imagenette gives synonyms


def _files(opened: Any, root: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """(path shown, label, read) of a data set of files, without decoding one."""
    if hasattr(opened, "loader"):
        opened.loader = Path  # instead of a picture, each item is where it lies
    else:
        opened = list(zip(opened._images, opened._labels, strict=True))  # Oxford pets alone has no loader
    for index in range(len(opened)):
        path, label = opened[index]
        yield Path(path).relative_to(root).as_posix(), int(label), Path(path).read_bytes


def _pictures(opened: Any, split: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """(path shown, label, read) of a data set of arrays."""
    for index in range(len(opened)):
        yield f"{split}/{index:05d}.png", int(opened[index][1]), partial(_encode, opened, index)


def _encode(opened: Any, index: int) -> bytes:
    return png_of_image(opened[index][0])
