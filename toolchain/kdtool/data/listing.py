"""What a source of photographs hands over: the samples and their classes, nothing decoded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
    """One encoded photograph.

    Attributes:
        path: as the user knows it, relative to the source.
        label: name of its class.
        split: one of `SPLITS`; what a listing `carves` is taken out of train later.
        read: the encoded bytes; raises OSError.
    """

    path: str
    label: str
    split: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Listing:
    """All samples of a source, in an order that does not depend on the file system.

    Attributes:
        source: how messages name it.
        samples: every file that claims to be a picture.
        classes_by_split: the classes each split declares, those without a picture too.
        carve: the splits the source does not have; they are taken out of train.
        ignored: kind of file → how many were passed over, such as ".txt" → 3.
    """

    source: str
    samples: tuple[Sample, ...]
    classes_by_split: Mapping[str, tuple[str, ...]]
    carve: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; their order is that of train and becomes the order of the logits."""
        return self.classes_by_split["train"]
