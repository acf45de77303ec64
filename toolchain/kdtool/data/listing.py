"""The samples that a source of photographs lists, with their classes and hashes; nothing is decoded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kdtool.core.files import sha256_bytes
from kdtool.core.screen import Screen
from kdtool.machine.parallel import ordered_map

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
LOOSE = "picture outside a class folder"  # a kind of ignored file


@dataclass(frozen=True)
class Sample:
    """One photo file, listed and not yet read.

    Attributes:
        path: path that the user knows, relative to the source.
        label: name of the class.
        split: one of `SPLITS`; the splits in `Listing.carve` are taken out of train later.
        read: returns the encoded bytes, or raises OSError.
    """

    path: str
    label: str
    split: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Listing:
    """All samples of a source, in an order that does not depend on the file system.

    Attributes:
        source: name of the source in messages.
        samples: every photo file, readable or not.
        classes_by_split: split → the classes that it declares, also those without a sample.
        carve: the splits that the source does not have; they are taken out of train.
        ignored: kind of file → number of ignored files, such as ".txt" → 3.
    """

    source: str
    samples: tuple[Sample, ...]
    classes_by_split: Mapping[str, tuple[str, ...]]
    carve: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of train, which becomes the order of the logits."""
        return self.classes_by_split["train"]


def hash_samples(samples: Sequence[Sample], screen: Screen) -> list[str]:
    """Hash the encoded bytes of each sample with SHA-256, to notice changes without decoding.

    The hash is empty if the bytes cannot be read; the scan reports why.
    """
    hashes = []
    with screen.bar("hash", len(samples)) as bar:
        for digest in ordered_map(_hash, samples):
            hashes.append(digest)
            bar.advance()
    return hashes


def _hash(sample: Sample) -> str:
    try:
        return sha256_bytes(sample.read())
    except OSError:
        return ""
