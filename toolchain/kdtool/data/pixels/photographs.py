"""Images that are not stored decoded: each is decoded from its photo file when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdtool.core.errors import DataError, UsageError
from kdtool.core.files import sha256_bytes
from kdtool.core.preprocess import UInt8Array, decode
from kdtool.core.spelling import assigned
from kdtool.core.text import printable
from kdtool.data.sources import load_listing
from kdtool.machine.threads import usable_threads

AGAIN = "Give the training command with DATA again: it finds the changes and repeats the stages that need it."


class Rule(Protocol):
    """Rule that makes pixels from a decoded photograph, such as `Preprocess`."""

    def pixels(self, image: Image.Image) -> UInt8Array: ...


@dataclass(frozen=True)
class Photographs:
    """Images (N, S, S, 3) uint8, indexed like an array; unlike a memory map they take no disk space.

    With a rule that keeps the shape of a photograph, images have sizes of their own.

    Threads decode, since Pillow releases the interpreter lock. Each photo file is compared with its hash, so
    that training never sees a photograph that changed since `prepare`.

    Attributes:
        paths, hashes: path and hash of each photo file, as in `kdtool.data.reader.Split`.
        reads: functions that return the encoded bytes of each photo file, or raise OSError.
    """

    paths: Sequence[str]
    hashes: Sequence[str]
    reads: Sequence[Callable[[], bytes]]
    preprocess: Rule
    _under_way: dict[int, Future[UInt8Array]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array, for a rule whose images have one size."""
        return len(self), *self[0].shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, wanted: int | slice | npt.NDArray[np.integer[Any]]) -> UInt8Array:
        """Return images: (H, W, 3) for a number, (B, S, S, 3) for a slice or an array of numbers.

        Raises:
            DataError: a photo file is missing, or changed since it was prepared.
        """
        rows = np.arange(len(self))[wanted]
        numbers = np.atleast_1d(rows).tolist()
        self.expect(numbers)
        decoded = {number: self._under_way.pop(number) for number in set(numbers)}
        images = [decoded[number].result() for number in numbers]
        return images[0] if rows.ndim == 0 else np.stack(images)

    def expect(self, numbers: Iterable[int]) -> None:
        """Start to decode these images in the background, since they will be asked for next."""
        for number in numbers:
            if number not in self._under_way:
                self._under_way[number] = self._pool.submit(self.decoded, number)

    def decoded(self, number: int) -> UInt8Array:
        """Decode one image in the calling thread.

        Raises:
            DataError: the photo file is missing, or changed since it was prepared.
        """
        name = printable(self.paths[number])
        try:
            payload = self.reads[number]()
        except OSError as error:
            raise DataError(f"{name}: cannot be read any more ({error.strerror or error}).", AGAIN) from error
        if sha256_bytes(payload) != self.hashes[number]:
            raise DataError(f"{name}: changed since it was prepared.", AGAIN)
        return self.preprocess.pixels(decode(payload, name))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(usable_threads(), thread_name_prefix="kdtool-photographs")


Images = UInt8Array | Photographs  # both are (N, S, S, 3) uint8


def expect(images: Any, numbers: npt.NDArray[np.integer[Any]]) -> None:
    """Start to decode the images that will be asked for next, if they are not decoded yet."""
    if hasattr(images, "expect"):
        images.expect(numbers.tolist())


def open_photographs(
    source: str, paths: Sequence[str], hashes: Sequence[str], preprocess: Rule
) -> Photographs:
    """Open photo files of a source.

    Args:
        source: a folder, a manifest or the name of a data set.
        paths, hashes: path below the source and hash of each photo file.

    Raises:
        DataError: a photo file is no longer there.
    """
    try:
        reads = {sample.path: sample.read for sample in load_listing(source).samples}
        return Photographs(paths, hashes, [reads[path] for path in paths], preprocess)
    except (UsageError, DataError, KeyError) as error:
        cause = f"{printable(error.args[0])} is missing" if isinstance(error, KeyError) else error.message
        raise DataError(
            f"The photographs of {source} are decoded in each epoch, but they cannot be found: {cause}",
            "Put them back. The training command with "
            f"{assigned({'data.cache': 'disk'})} would store them decoded, once they are back.",
        ) from error
