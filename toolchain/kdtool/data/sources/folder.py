"""A folder of class folders, with or without folders for the splits.

    DATA/train/cat/1.jpg, DATA/validation/cat/2.jpg, DATA/test/…     splits
    DATA/cat/1.jpg, DATA/dog/2.jpg                                   flat: kdtool makes the splits

A file with an extension of `IMAGE_SUFFIXES`, at any depth in its class folder, counts as a photo file. So a
broken photo file is reported and not ignored. Other files are ignored and counted by their extension;
hidden files and leftovers of operating systems are counted as "hidden"; pipes, sockets and devices, which
might never end, as "no regular file". An extension may be wrong, since Pillow goes by the content.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kdtool.core.errors import DataError, SetupError
from kdtool.data.listing import LOOSE, SPLIT_NAMES, SPLITS, Listing, Sample

AMBIGUOUS = "eval"
# HEIC is listed so that such photo files are reported as unreadable and not ignored.
# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe",
    ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
LEFTOVERS = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


def handles(data: str | None) -> bool:
    """True if DATA is a folder."""
    return data is not None and Path(data).is_dir()


def load(data: str | None) -> Listing:
    """List the photo files of the folder.

    Raises:
        DataError: the split folders are ambiguous, or none is for training.
        SetupError: a folder cannot be read.
    """
    root = Path(str(data))
    ignored: Counter[str] = Counter()
    splits = _split_folders(root)
    samples: list[Sample] = []
    classes_by_split = {}
    for split, top in splits.items():
        folders = _visible_folders(top)
        classes_by_split[split] = tuple(_text(folder.name) for folder in folders)
        _count_loose_files(top, ignored)
        for folder in folders:
            label = _text(folder.name)
            for path in photo_files(folder, _inodes(root, top), ignored):
                samples.append(Sample(_text(str(path.relative_to(root))), label, split, path.read_bytes))
    if root not in splits.values():
        _count_loose_files(root, ignored)
    carve = tuple(split for split in SPLITS if split not in splits)
    return Listing(str(data), tuple(samples), classes_by_split, carve, dict(sorted(ignored.items())))


def photographs_in(folder: Path) -> list[Path]:
    """List the photo files of a folder at any depth, in the order of their paths."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _split_folders(root: Path) -> dict[str, Path]:
    """Map each split to its folder, train first; all of a flat folder is train."""
    folders = _visible_folders(root)
    named = [folder for folder in folders if folder.name.lower() in {*SPLIT_NAMES, AMBIGUOUS}]
    others = [folder for folder in folders if folder not in named]
    if others:
        # A class may be called "train" (as opposed to "bus"): a split holds folders, a class photo files.
        named = [folder for folder in named if _visible_folders(folder)]
    if not named:
        return {"train": root}
    if others:
        raise DataError(
            f"{root}: split folders ({_names(named)}) stand beside other folders ({_names(others)}); "
            "allowed are either splits or classes.",
            "Move the other folders away, or state the split of each photo file in a manifest: "
            "path,label,split",
        )
    by_split: dict[str, Path] = {}
    for folder in named:
        if folder.name.lower() == AMBIGUOUS:
            raise DataError(
                f"{folder}: 'eval' can mean the validation or the test split.",
                "Rename it to 'validation' (it chooses the weights) or 'test' (bench alone reads it).",
            )
        split = SPLIT_NAMES[folder.name.lower()]
        if split in by_split:
            raise DataError(
                f"{root}: '{by_split[split].name}' and '{folder.name}' both name the {split} split.",
                "Keep one of them.",
            )
        by_split[split] = folder
    if "train" not in by_split:
        raise DataError(
            f"{root} has {_names(named)} but no folder for training; allowed are 'train' and 'training'.",
            "Add this folder, or give the folder of classes itself: kdtool then makes the splits.",
        )
    return {split: by_split[split] for split in SPLITS if split in by_split}


def photo_files(folder: Path, visited: set[tuple[int, int]], ignored: Counter[str]) -> Iterator[Path]:
    """List the photo files in `folder` and below, by name; `visited` folders are not entered again."""
    pending = [folder]
    while pending:
        path = pending.pop()
        reason = _passed_over(path)
        if reason:
            ignored[reason] += 1
        elif not path.is_dir():
            yield path
        elif (inode := _inode(path)) in visited:
            ignored["link to a folder already seen"] += 1
        else:
            visited.add(inode)
            pending += reversed(_entries(path))


def _count_loose_files(top: Path, ignored: Counter[str]) -> None:
    """Count the files that lie in no class folder."""
    for path in _entries(top):
        reason = _passed_over(path)
        if reason or not path.is_dir():
            ignored[reason or LOOSE] += 1


def _passed_over(path: Path) -> str:
    """Name the kind that an ignored file is counted as; empty for a photo file and for a folder to enter."""
    if path.name.startswith(".") or path.name.lower() in LEFTOVERS:
        return "hidden"
    if path.is_dir():
        return ""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return _text(path.suffix.lower()) or "no extension"
    # A link to nowhere counts as a photo file, so that it is reported as unreadable.
    return "no regular file" if path.exists() and not path.is_file() else ""


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not _passed_over(path)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise SetupError(
            f"Cannot read the folder {folder}: {error.strerror}.",
            f"Look at its permissions: ls -ld {shlex.quote(str(folder))}",
        ) from error


def _inodes(*folders: Path) -> set[tuple[int, int]]:
    return {_inode(folder) for folder in folders}


def _inode(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _names(folders: list[Path]) -> str:
    return ", ".join(f"'{_text(folder.name)}'" for folder in folders)


def _text(name: str) -> str:
    """Return the name as UTF-8; bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
