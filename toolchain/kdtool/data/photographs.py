"""Images that were not kept decoded: each is decoded when it is asked for, from its photo file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import DataError, UsageError
from kdtool.core.files import sha256_bytes
from kdtool.core.preprocess import Preprocess, UInt8Array, decode
from kdtool.core.text import printable
from kdtool.data.sources import load_listing
from kdtool.machine.threads import usable_threads

AGAIN = "Give the training command with DATA again: it finds what changed, and trains what needs it again."


@dataclass(frozen=True)
class Photographs:
    """(N, S, S, 3) uint8, indexed like an array; takes no space on the disk, as a memory map would.

    Threads decode: Pillow releases the interpreter lock. Each file is compared with its hash, so that no
    photograph that changed since `prepare` is trained on.

    Attributes:
        paths, hashes: as in `kdtool.data.reader.Split`.
        reads: each returns the encoded bytes, or raises OSError.
    """

    paths: Sequence[str]
    hashes: Sequence[str]
    reads: Sequence[Callable[[], bytes]]
    preprocess: Preprocess
    _under_way: dict[int, Future[UInt8Array]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), self.preprocess.size, self.preprocess.size, 3

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, wanted: int | slice | npt.NDArray[np.integer[Any]]) -> UInt8Array:
        """Index as an array: a number gives (S, S, 3), a slice or numbers give (B, S, S, 3).

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
        """Start to decode these in the background, since they will be asked for next."""
        for number in numbers:
            if number not in self._under_way:
                self._under_way[number] = self._pool.submit(self.decoded, number)

    def decoded(self, number: int) -> UInt8Array:
        """Decode one image in the calling thread; raises as `__getitem__` does."""
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


Images = UInt8Array | Photographs  # (N, S, S, 3) uint8 either way


def expect(images: Images, numbers: npt.NDArray[np.integer[Any]]) -> None:
    """Start to decode those of `images` that will be asked for next, if they have to be decoded."""
    if isinstance(images, Photographs):
        images.expect(numbers.tolist())


def open_photographs(
    source: str, paths: Sequence[str], hashes: Sequence[str], preprocess: Preprocess
) -> Photographs:
    """Open the photo files `paths` of `source`: a folder, a manifest or the name of a data set.

    Raises:
        DataError: they are no longer there.
    """
    try:
        reads = {sample.path: sample.read for sample in load_listing(source).samples}
        return Photographs(paths, hashes, [reads[path] for path in paths], preprocess)
    except (UsageError, DataError, KeyError) as error:
        cause = f"{printable(error.args[0])} is missing" if isinstance(error, KeyError) else error.message
        raise DataError(
            f"The photographs of {source} are decoded in each epoch, and cannot be found: {cause}",
            "Put them back; while they are there, the training command with --cache disk keeps them decoded.",
        ) from error
