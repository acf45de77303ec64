"""Whole training photographs at a bounded size, from which training cuts its views.

The prepared image of a photograph is its centre, as a device sees it. A random crop should come from the
whole photograph instead. So each one is decoded once and shrunk, not cropped, and the pixels are kept as the
prepared images are: in a file, in memory, or not at all, so that each view decodes the photograph again.

    whole/pixels.bin   the images, one after the other, (H, W, 3) uint8 each
    whole/index.npy    (N, 3) int64: height, width, and offset in pixels.bin
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL import __version__ as pillow_version

from kdtool.core.files import durable, sha256_json
from kdtool.core.preprocess import DECODE_RULE, UInt8Array
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.data.pixels.photographs import Photographs, open_photographs
from kdtool.machine.packages import required, versions_of
from kdtool.machine.parallel import ordered_map
from kdtool.runs.stage import Manifest, Stage, intact, read_manifest

STAGE, FOLDER = "whole", "whole"
PIXELS, INDEX = "pixels.bin", "index.npy"
MARGIN = 1.5  # shortest side of a whole photograph / largest side of a network's input
LONGEST = 3  # longest side / shortest side; more is cut away evenly
SHARE_OF_DISK = 0.8  # share of the free space that the pixels may take


@dataclass(frozen=True)
class Bounded:
    """Rule that shrinks a photograph until its shortest side has at most `side` pixels; it enlarges none."""

    side: int

    def pixels(self, image: Image.Image) -> UInt8Array:
        """Shrink an RGB image: (H, W, 3) uint8."""
        width, height = image.size
        short = min(width, height)
        left, top = (max(0, (length - LONGEST * short) // 2) for length in (width, height))
        image = image.crop((left, top, width - left, height - top)) if left or top else image
        if short > self.side:
            scaled = (max(self.side, round(length * self.side / short)) for length in image.size)
            image = image.resize((next(scaled), next(scaled)), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class StoredWhole:
    """Whole photographs in one array of bytes: a memory map, or memory."""

    content: UInt8Array
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> UInt8Array:
        height, width, offset = self.index[number]
        return self.content[offset : offset + height * width * 3].reshape(height, width, 3)


@dataclass(frozen=True)
class Whole:
    """Whole training photographs of prepared data.

    Attributes:
        images: indexed by the number of a training image: (H, W, 3) uint8.
        digest: hash of all pixels.
    """

    images: StoredWhole | Photographs
    digest: str

    def __len__(self) -> int:
        return len(self.images)


def whole_side(*sizes: int) -> int:
    """Shortest side of a whole photograph for networks with inputs of these sizes, pixels."""
    return round(MARGIN * max(sizes))


def make_whole(
    folder: Path,
    source: str,
    paths: Sequence[str],
    hashes: Sequence[str],
    side: int,
    stored: bool,
    screen: Screen,
) -> Manifest:
    """Decode every training photograph once; skipped if this is complete.

    Args:
        folder: folder of the prepared data.
        paths, hashes: path below the source and hash of each photo file.
        stored: True keeps the pixels, if the disk has the space.

    Raises:
        DataError: a photo file is missing, or changed since it was prepared.
        SetupError: the pixels cannot be written.
    """
    inputs = _inputs(hashes, side)
    stage = Stage(STAGE, folder / FOLDER, inputs)
    manifest = stage.complete()
    if manifest is not None and (manifest.files or not stored):
        return manifest
    photographs = open_photographs(source, paths, hashes, Bounded(side))
    stage.folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    shapes: list[tuple[int, int]] = []

    def decoded() -> Iterator[bytes]:
        with screen.bar("whole photographs", len(paths)) as bar:
            for image in ordered_map(photographs.decoded, range(len(paths))):
                shapes.append(image.shape[:2])
                content = image.tobytes()
                digest.update(repr(image.shape).encode() + content)
                bar.advance()
                yield content

    stage.reopen()
    keep = stored and _fits(stage.folder, len(paths), side, screen)
    files = _write(stage.folder, decoded(), shapes) if keep else _only_read(decoded())
    return stage.seal(files, {"digest": digest.hexdigest()}, versions_of(required()))


def open_whole(
    folder: Path, source: str, paths: Sequence[str], hashes: Sequence[str], in_memory: bool
) -> Whole | None:
    """Open the whole photographs of prepared data; None if there are none of these training photographs."""
    place = folder / FOLDER
    manifest = read_manifest(place / "manifest.json")
    if manifest is None or manifest.inputs.get("photographs") != sha256_json(list(hashes)):
        return None
    if not intact(place, manifest):
        return None
    digest, side = str(manifest.result["digest"]), int(manifest.inputs["side"])
    if not manifest.files:
        return Whole(open_photographs(source, paths, hashes, Bounded(side)), digest)
    index = np.load(place / INDEX, allow_pickle=False)
    content: UInt8Array = np.memmap(place / PIXELS, np.uint8, "r")
    return Whole(StoredWhole(np.array(content) if in_memory else content, index), digest)


def bytes_wanted(count: int, side: int) -> int:
    """Disk space of whole photographs whose sides are as 4 to 3."""
    return round(count * side**2 * 4 / 3 * 3)


def _inputs(hashes: Sequence[str], side: int) -> dict[str, Any]:
    return {
        "photographs": sha256_json(list(hashes)),
        "side": side,
        "decode_rule": DECODE_RULE,
        "pillow": pillow_version,
    }


def _fits(folder: Path, count: int, side: int, screen: Screen) -> bool:
    free, wanted = shutil.disk_usage(folder).free, bytes_wanted(count, side)
    if wanted <= SHARE_OF_DISK * free:
        return True
    screen.say(
        f"prepare: whole photographs would take {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free. So each "
        f"view decodes its photograph again ({assigned({'data.cache': 'none'})})."
    )
    return False


def _write(folder: Path, images: Iterable[bytes], shapes: Sequence[tuple[int, int]]) -> list[str]:
    """Write the pixels, and then the index; `shapes` is complete when all images are written."""
    with durable(folder / PIXELS) as partial, partial.open("wb") as target:
        for content in images:
            target.write(content)
    sides = np.array(shapes, dtype=np.int64).reshape(-1, 2)
    lengths = sides.prod(axis=1) * 3
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    with durable(folder / INDEX) as partial, partial.open("wb") as target:
        np.save(target, np.column_stack([sides, offsets]))
    return [PIXELS, INDEX]


def _only_read(images: Iterable[bytes]) -> list[str]:
    for _ in images:
        pass
    return []
