"""A split of prepared photographs as a torch Dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kdtool.core.errors import DataError, UsageError
from kdtool.data.reader import Prepared, Split, read_prepared

Transform = Callable[[Tensor], Tensor]


class PhotographDataset(Dataset[tuple[Tensor, int]]):
    """A Dataset of (image, label): float32 (3, S, S), normalized, and the class as int.

    Each worker of a DataLoader opens the files again, since memory maps and threads that decode cannot be
    passed to another process.
    """

    def __init__(self, prepared: Prepared, split: str, transform: Transform | None = None) -> None:
        self.classes = prepared.classes
        self._prepared, self._name, self._transform = replace(prepared), split, transform
        self._opened: tuple[int, Split] | None = None
        self._length = len(self._split.labels)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -self._length <= index < self._length:
            raise IndexError(f"index {index} is out of range; the Dataset has {self._length} photographs")
        split = self._split
        pixels = split.images[index][None]
        if self._transform is not None:
            view = self._transform(torch.tensor(pixels[0]).permute(2, 0, 1))
            if not (isinstance(view, Tensor) and view.dtype == torch.uint8 and view.ndim == 3):
                raise UsageError(
                    "transform does not return a uint8 tensor (3, H, W).",
                    "Leave out normalization and the conversion to float: the Dataset does both.",
                )
            pixels = view.permute(1, 2, 0)[None].numpy()
        image = torch.from_numpy(self._prepared.preprocess.normalize(pixels)[0])
        return image, int(split.labels[index])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_prepared": replace(self._prepared), "_opened": None}

    @property
    def _split(self) -> Split:
        """Split that this process opened."""
        if self._opened is None or self._opened[0] != os.getpid():
            split = replace(self._prepared).split(self._name)
            if read_prepared(self._prepared.folder).digest != self._prepared.digest:
                raise DataError(
                    f"{self._prepared.folder}: these photographs were prepared again with other settings.",
                    "Open them again, or use another folder: kdtool.open_data(…, out=…)",
                )
            self._opened = os.getpid(), split
        return self._opened[1]
