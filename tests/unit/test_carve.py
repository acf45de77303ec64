"""Properties of the stratified, seeded split."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from kdtool.data.carve import carve

FRACTIONS = {"validation": 0.15, "test": 0.2}

# (label, picture) of each sample: few pictures, so that many are equal, some under two labels
samples = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30).map(str)), min_size=1, max_size=80)
sizes = st.dictionaries(st.sampled_from("abcd"), st.integers(3, 60), min_size=1)
fractions = st.sampled_from(
    [FRACTIONS, {"validation": 0.5}, {"test": 0.01}, {"validation": 0.49, "test": 0.49}]
)


def split_of(pairs: list[tuple[str, str]], seed: int = 0, parts: dict[str, float] = FRACTIONS) -> list[str]:
    return carve([label for label, _ in pairs], [picture for _, picture in pairs], parts, seed)


@settings(max_examples=80, deadline=None)
@given(samples, st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_samples_has_no_part_in_it(
    pairs: list[tuple[str, str]], shuffler: random.Random, seed: int
) -> None:
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    before = Counter(zip(pairs, split_of(pairs, seed), strict=True))
    assert before == Counter(zip(shuffled, split_of(shuffled, seed), strict=True))


@settings(max_examples=80, deadline=None)
@given(samples, st.integers(0, 5))
def test_equal_pictures_never_straddle(pairs: list[tuple[str, str]], seed: int) -> None:
    where = defaultdict(set)
    for (_, picture), split in zip(pairs, split_of(pairs, seed), strict=True):
        where[picture].add(split)
    assert all(len(splits) == 1 for splits in where.values())


@settings(max_examples=80, deadline=None)
@given(sizes, fractions, st.integers(0, 5))
def test_stratified(counts: dict[str, int], parts: dict[str, float], seed: int) -> None:
    pairs = [(label, f"{label}{index}") for label, count in counts.items() for index in range(count)]
    held = Counter(zip((label for label, _ in pairs), split_of(pairs, seed, parts), strict=True))
    for label, count in counts.items():
        assert held[label, "train"] >= 1
        wanted = {split: max(1, round(part * count)) for split, part in parts.items()}
        if sum(wanted.values()) < count:
            assert {split: held[label, split] for split in parts} == wanted
        else:
            assert all(held[label, split] >= 1 for split in parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=8), st.integers(0, 5))
def test_every_split_gets_a_group_however_large_they_are(groups: list[int], seed: int) -> None:
    pairs = [("a", str(group)) for group, size in enumerate(groups) for _ in range(size)]
    assert set(split_of(pairs, seed)) == {"train", "validation", "test"}


def test_another_seed_is_another_split() -> None:
    pairs = [("a", str(index)) for index in range(40)]
    assert split_of(pairs, 0) == split_of(pairs, 0) != split_of(pairs, 1)


def test_nothing_to_carve() -> None:
    assert split_of([("a", "1"), ("b", "2")], parts={}) == ["train", "train"]
