"""Take validation and test out of train: stratified, seeded, equal images in one split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from kdtool.data.listing import SPLITS, Listing, Sample
from kdtool.recipe.settings import DataSettings


def carve(
    labels: Sequence[str], hashes: Sequence[str], fractions: Mapping[str, float], seed: int
) -> list[str]:
    """The split of each sample.

    Of a class with n samples, round(fraction · n) go to each split of `fractions`, at least one, and
    the rest to train. Equal images form one group, whatever their classes; the group counts for the class
    that has most of its images (the first by name among equals). The result is a function of the seed and
    the set of (label, hash); the order of the samples plays no part.

    Args:
        labels, hashes: class and hash of the decoded pixels of each sample, (N,) each.
        fractions: split → its share of the samples, 0 < fraction < 1; their sum is below 1.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(hashes):
        groups[digest].append(index)
    by_class: dict[str, list[str]] = defaultdict(list)
    for digest, members in groups.items():
        held = [labels[index] for index in members]
        by_class[min(set(held), key=lambda label: (-held.count(label), label))].append(digest)
    splits = ["train"] * len(labels)
    for of_class in by_class.values():
        shuffled = sorted(of_class, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        sizes = {digest: len(groups[digest]) for digest in shuffled}
        for digest, split in _deal(sizes, fractions).items():
            for index in groups[digest]:
                splits[index] = split
    return splits


def assign(
    listing: Listing, samples: Sequence[Sample], hashes: Sequence[str], settings: DataSettings, seed: int
) -> list[str]:
    """The split of each of `samples`: the source's own, or carved out of train.

    Args:
        samples: those of `listing`, or the readable ones among them.
        hashes: of the decoded pixels of each.
    """
    splits = [sample.split for sample in samples]
    train = [index for index, split in enumerate(splits) if split == "train"]
    fractions = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    carved = carve(
        [samples[index].label for index in train],
        [hashes[index] for index in train],
        {split: fractions[split] for split in listing.carve},
        seed,
    )
    for index, split in zip(train, carved, strict=True):
        splits[index] = split
    return splits


def planned_counts(listing: Listing, settings: DataSettings, seed: int) -> dict[str, int]:
    """Split → photographs it will have if all are readable and different; nothing is decoded."""
    held = Counter(_planned(listing, settings, seed))
    return {split: held[split] for split in SPLITS}


def planned_train(listing: Listing, settings: DataSettings, seed: int) -> dict[str, int]:
    """Class → photographs it will be trained on, under the same assumption as `planned_counts`."""
    splits = _planned(listing, settings, seed)
    held = Counter(
        sample.label for sample, split in zip(listing.samples, splits, strict=True) if split == "train"
    )
    return {name: held[name] for name in listing.classes}


def _planned(listing: Listing, settings: DataSettings, seed: int) -> list[str]:
    names = [str(index) for index in range(len(listing.samples))]
    return assign(listing, listing.samples, names, settings, seed)


def _deal(sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, str]:
    """Group → split, for one class with groups of `sizes` in the order they are dealt."""
    total = sum(sizes.values())
    room = {split: max(1, round(fraction * total)) for split, fraction in fractions.items()}
    while sum(room.values()) >= total and max(room.values()) > 1:  # rounding must leave something to train on
        room[max(room, key=lambda split: room[split])] -= 1
    dealt = dict.fromkeys(sizes, "train")
    for group, size in sizes.items():
        fits = next((split for split in room if size <= room[split]), None)
        if fits:
            dealt[group] = fits
            room[fits] -= size
    for split in fractions:  # where no group fitted: the smallest that another split, train first, can spare
        if split not in dealt.values():
            held = Counter(dealt.values())
            spare = [group for group in sizes if held[dealt[group]] > 1]
            if spare:
                dealt[min(spare, key=lambda group: (dealt[group] != "train", sizes[group]))] = split
    return dealt
