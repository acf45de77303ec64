"""Images of two sources as one, such as photographs with labels and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.files import sha256_json
from kdtool.core.preprocess import UInt8Array
from kdtool.data.pixels.photographs import Images, expect
from kdtool.data.pixels.whole import Whole


@dataclass(frozen=True)
class Joined:
    """Images of `parts`, one source after the other, indexed like one array."""

    parts: Sequence[Images]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.parts[0].shape[1:]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, wanted: int | slice | npt.NDArray[np.integer[Any]]) -> UInt8Array:
        """Return images: (H, W, 3) for a number, (B, S, S, 3) for a slice or an array of numbers."""
        rows = np.arange(len(self))[wanted]
        if rows.ndim == 0:
            part, number = self._place(int(rows))
            return np.asarray(part[number])
        images: UInt8Array = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for part, start in self._starts():
            mine = (rows >= start) & (rows < start + len(part))
            if mine.any():
                images[mine] = part[rows[mine] - start]
        return images

    def expect(self, numbers: Sequence[int]) -> None:
        """Start to decode the images that are not stored, since they will be asked for next."""
        rows = np.asarray(numbers)
        for part, start in self._starts():
            expect(part, rows[(rows >= start) & (rows < start + len(part))] - start)

    def _starts(self) -> list[tuple[Images, int]]:
        ends = np.cumsum([0, *map(len, self.parts)]).tolist()
        return list(zip(self.parts, ends, strict=False))

    def _place(self, number: int) -> tuple[Images, int]:
        return next((p, number - start) for p, start in reversed(self._starts()) if number >= start)


@dataclass(frozen=True)
class JoinedWhole:
    """Whole photographs of two sources, each of a size of its own."""

    first: Any
    second: Any
    length: int

    def __len__(self) -> int:
        return self.length + len(self.second)

    def __getitem__(self, number: int) -> UInt8Array:
        image: UInt8Array = self.first[number] if number < self.length else self.second[number - self.length]
        return image

    def expect(self, numbers: Sequence[int]) -> None:
        """Start to decode the photographs that are not stored, since they will be asked for next."""
        rows = np.asarray(numbers)
        expect(self.first, rows[rows < self.length])
        expect(self.second, rows[rows >= self.length] - self.length)


def join(first: Images, second: Images) -> Any:
    """Join images (N, S, S, 3) and (M, S, S, 3) without reading them."""
    return Joined((first, second))


def joined_whole(first: Whole, second: Whole) -> Whole:
    """Join whole photographs."""
    images: Any = JoinedWhole(first.images, second.images, len(first))
    return Whole(images, sha256_json([first.digest, second.digest]))
