"""Take a validation and a test split out of train: stratified, seeded, equal images in one split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from kdtool.data.listing import SPLITS, Listing, Sample
from kdtool.recipe.settings import DataSettings


def carve(
    labels: Sequence[str], hashes: Sequence[str], fractions: Mapping[str, float], seed: int
) -> list[str]:
    """Choose the split of each sample.

    Of a class with n samples, round(fraction · n) go to each split of `fractions`, at least one; the others
    go to train. Equal images form one group, even if their classes differ. The group counts for the class of
    most of its images; if several classes have as many, for the first of them by name. The result is a
    function of the seed and the set of (label, hash); the order of the samples has no effect.

    Args:
        labels, hashes: class and hash of the decoded pixels of each sample, (N,) each.
        fractions: split → its share of the samples, 0 < fraction < 1; the sum of all shares is below 1.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(hashes):
        groups[digest].append(index)
    by_class: dict[str, list[str]] = defaultdict(list)
    for digest, members in groups.items():
        classes = [labels[index] for index in members]
        by_class[min(set(classes), key=lambda label: (-classes.count(label), label))].append(digest)
    splits = ["train"] * len(labels)
    for digests in by_class.values():
        shuffled = sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        sizes = {digest: len(groups[digest]) for digest in shuffled}
        for digest, split in _deal(sizes, fractions).items():
            for index in groups[digest]:
                splits[index] = split
    return splits


def assign(
    listing: Listing, samples: Sequence[Sample], hashes: Sequence[str], settings: DataSettings, seed: int
) -> list[str]:
    """Return the split of each sample: the one that the source states, or one carved out of train.

    Args:
        samples: the samples of `listing`, or the readable ones among them.
        hashes: hash of the decoded pixels of each sample.
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
    """Count the photographs of each split, if all are readable and different; nothing is decoded."""
    counts = Counter(_planned(listing, settings, seed))
    return {split: counts[split] for split in SPLITS}


def planned_train(listing: Listing, settings: DataSettings, seed: int) -> dict[str, int]:
    """Count the training photographs of each class, on the same assumption as `planned_counts`."""
    splits = _planned(listing, settings, seed)
    counts = Counter(
        sample.label for sample, split in zip(listing.samples, splits, strict=True) if split == "train"
    )
    return {name: counts[name] for name in listing.classes}


def _planned(listing: Listing, settings: DataSettings, seed: int) -> list[str]:
    names = [str(index) for index in range(len(listing.samples))]
    return assign(listing, listing.samples, names, settings, seed)


def _deal(sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, str]:
    """Choose the split of each group of one class.

    Args:
        sizes: group → number of its samples; the groups are dealt in this order.
    """
    total = sum(sizes.values())
    room = {split: max(1, round(fraction * total)) for split, fraction in fractions.items()}
    while sum(room.values()) >= total and max(room.values()) > 1:  # train must keep some samples
        room[max(room, key=lambda split: room[split])] -= 1
    dealt = dict.fromkeys(sizes, "train")
    for group, size in sizes.items():
        fits = next((split for split in room if size <= room[split]), None)
        if fits:
            dealt[group] = fits
            room[fits] -= size
    for (
        split
    ) in fractions:  # an empty split takes the smallest group that another split, train first, can spare
        if split not in dealt.values():
            groups = Counter(dealt.values())
            spare = [group for group in sizes if groups[dealt[group]] > 1]
            if spare:
                dealt[min(spare, key=lambda group: (dealt[group] != "train", sizes[group]))] = split
    return dealt
