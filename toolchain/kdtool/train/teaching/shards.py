"""Files of soft labels: a shard holds the logits of some images of one view; its name has a checksum.

    train-0003-0002048-<key>-<hash>.npy     view 3, from image 2048 on, (n, 1, K)

So an interruption loses no more than the shard that was under way.
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

IMAGES = 2048  # of a shard: a minute or two of a large teacher; a multiple of evaluation's batch
HASHED = 16  # hexadecimal digits of a hash in a name

Logits = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Place:
    """Where logits belong: `images` are numbers in the split, `key` is of all they are a function of."""

    split: str
    view: int
    images: range
    key: str

    @property
    def name(self) -> str:
        return f"{self.split}-{self.view:04d}-{self.images.start:07d}-{self.key}"


def places(split: str, view: int, images: int, key: str) -> list[Place]:
    """The shards of one view of `images` images."""
    starts = range(0, images, IMAGES)
    return [Place(split, view, range(start, min(start + IMAGES, images)), key) for start in starts]


def write_shard(folder: Path, place: Place, logits: Logits) -> str:
    """Write (n, K) durably; returns the file's name."""
    payload = io.BytesIO()
    np.save(payload, logits[:, None, :])
    content = payload.getvalue()
    file = f"{place.name}-{sha256_bytes(content)[:HASHED]}.npy"
    write_bytes(folder / file, content)
    return file


def shards_in(folder: Path) -> dict[str, Path]:
    """What earlier stages left, by the name of its place; looked up once, there may be thousands."""
    return {path.stem.rsplit("-", 1)[0]: path for path in folder.glob("*.npy")}


def whole_shard(path: Path | None) -> str | None:
    """The file's name, if there is one and its content is what its name says."""
    whole = path is not None and sha256_file(path)[:HASHED] == path.stem.rsplit("-", 1)[-1]
    return path.name if path is not None and whole else None


def by_view(files: Iterable[str]) -> Mapping[str, Sequence[Sequence[str]]]:
    """Split → its views in order, each a list of its shards in order."""
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
    """The teacher's logits on one view of a split: (N, 1, K), in shards that are memory maps."""

    shards: tuple[Logits, ...]

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(B, K) of the images `indices`."""
        size = len(self.shards[0])  # that of all but the last
        found = np.empty((len(indices), self.shards[0].shape[-1]), np.float32)
        for number in np.unique(indices // size):
            here = indices // size == number
            found[here] = self.shards[number][indices[here] - number * size, 0]
        return found

    def whole(self) -> npt.NDArray[np.float32]:
        """(N, 1, K), read into memory."""
        return np.concatenate(self.shards, dtype=np.float32)


def open_view(folder: Path, files: Sequence[str]) -> ViewLogits:
    return ViewLogits(tuple(np.load(folder / name, mmap_mode="r") for name in files))
