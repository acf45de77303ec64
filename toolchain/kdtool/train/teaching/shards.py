"""Files of soft labels: a shard contains the logits of some images of one view; its name has a checksum.

    train-0003-0002048-<key>-<hash>.npy     view 3, images from number 2048 on, (n, 1, K)

So an interruption loses only the shard that was not finished.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.files import sha256_bytes, sha256_file, write_bytes

IMAGES = 2048  # in a shard: 1–2 minutes of a large teacher; a multiple of the evaluation batch
HASHED = 16  # hexadecimal digits of a hash in a file name

Logits = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Place:
    """Identity of a shard.

    Attributes:
        images: numbers of the images in the split.
        key: hash of all inputs of the logits.
    """

    split: str
    view: int
    images: range
    key: str

    @property
    def name(self) -> str:
        """File name of the shard without its checksum."""
        return f"{self.split}-{self.view:04d}-{self.images.start:07d}-{self.key}"


def places(split: str, view: int, images: int, key: str) -> list[Place]:
    """List the shards of one view of `images` images."""
    starts = range(0, images, IMAGES)
    return [Place(split, view, range(start, min(start + IMAGES, images)), key) for start in starts]


def write_shard(folder: Path, place: Place, logits: Logits) -> str:
    """Write logits (n, K) durably; returns the name of the file."""
    payload = io.BytesIO()
    np.save(payload, logits[:, None, :])
    content = payload.getvalue()
    file = f"{place.name}-{sha256_bytes(content)[:HASHED]}.npy"
    write_bytes(folder / file, content)
    return file


def shards_in(folder: Path) -> dict[str, Path]:
    """List existing shards: name of the place → file. One call lists all, since there may be thousands."""
    return {path.stem.rsplit("-", 1)[0]: path for path in folder.glob("*.npy")}


def whole_shard(path: Path | None) -> str | None:
    """Return the file name if the file exists and its content has the checksum in the name."""
    intact = path is not None and sha256_file(path)[:HASHED] == path.stem.rsplit("-", 1)[-1]
    return path.name if path is not None and intact else None


def by_view(files: Iterable[str]) -> Mapping[str, Sequence[Sequence[str]]]:
    """Sort the files of shards: split → views in order, each a list of its shards in order."""
    parts: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
    for file in files:
        split, view, start, *_ = file.split("-")
        parts[split, int(view)].append((int(start), file))
    views: dict[str, list[list[str]]] = defaultdict(list)
    for (split, _), shards in sorted(parts.items()):
        views[split].append([file for _, file in sorted(shards)])
    return views


@dataclass(frozen=True)
class ViewLogits:
    """The teacher's logits (N, 1, K) for one view of a split, in memory-mapped shards."""

    shards: tuple[Logits, ...]

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Look up the logits (B, K) of the images `indices`."""
        size = len(self.shards[0])  # all shards but the last have this size
        rows = np.empty((len(indices), self.shards[0].shape[-1]), np.float32)
        for number in np.unique(indices // size):
            inside = indices // size == number
            rows[inside] = self.shards[number][indices[inside] - number * size, 0]
        return rows

    def whole(self) -> npt.NDArray[np.float32]:
        """Read all logits (N, 1, K) into memory."""
        return np.concatenate(self.shards, dtype=np.float32)


def open_view(folder: Path, files: Sequence[str]) -> ViewLogits:
    """Open the shards of one view as memory maps."""
    return ViewLogits(tuple(np.load(folder / name, mmap_mode="r") for name in files))
