"""`kdtool init`: survey photographs and write a recipe with a reason beside most lines.

Photographs are opened and not decoded. What is proposed follows from four figures: classes, training images
a class, the imbalance of classes, and the size of the photographs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from kdtool.core.errors import DataError
from kdtool.core.preprocess import open_image
from kdtool.core.screen import Screen
from kdtool.data.carve import planned_counts, planned_train
from kdtool.data.listing import Listing
from kdtool.recipe.settings import DataSettings

SIZES = (224, 160, 128, 96, 64, 32)
FEW, SOME = 30, 200  # training images a class
IMBALANCED = 5.0  # largest class / smallest class
TEST_IMAGES = 500  # below, an accuracy is known to no better than about 4 points
CARVED = 0.15
SEED = 0  # which photographs are carved, not how many


@dataclass(frozen=True)
class Survey:
    """Figures of photographs, from their headers alone.

    Attributes:
        per_class: training images and name of the smallest and of the largest class, after carving.
        sides: smallest, median and largest shortest side, in pixels.
        unreadable: files with a header that no decoder knows.
        advice: sentences for the user.
    """

    images: int
    classes: int
    per_class: tuple[tuple[int, str], tuple[int, str]]
    sides: tuple[int, int, int]
    unreadable: int
    has_test: bool
    size: int
    advice: tuple[str, ...]


def survey(listing: Listing, screen: Screen) -> Survey:
    """Open each photo file for the size of its image; nothing is decoded.

    Raises:
        DataError: fewer than two classes, or no readable photograph.
    """
    if len(listing.classes) < 2:
        raise DataError(
            f"{listing.source}: {len(listing.classes)} class(es); a classifier needs two or more.",
            "Put the photographs into one folder a class.",
        )
    sides, unreadable = [], 0
    with screen.bar("look", len(listing.samples)) as bar:
        for sample in listing.samples:
            try:
                sides.append(min(open_image(sample.read()).size))
            except Exception:  # decoders raise whatever broken bytes lead them to
                unreadable += 1
            bar.advance()
    if not sides:
        raise DataError(
            f"{listing.source}: no readable photograph.", f"See: kdtool data check {listing.source}"
        )
    sides.sort()
    settings = DataSettings(test_fraction=CARVED)  # as the recipe will have it
    ranked = sorted((count, name) for name, count in planned_train(listing, settings, SEED).items())
    three = (sides[0], sides[len(sides) // 2], sides[-1])
    size = next((size for size in SIZES if size <= three[1]), SIZES[-1])
    has_test = "test" not in listing.carve
    tests = planned_counts(listing, settings, SEED)["test"]
    advice = _advice(ranked[0], ranked[-1], three, unreadable, tests)
    return Survey(
        len(listing.samples), len(listing.classes), (ranked[0], ranked[-1]), three, unreadable, has_test,
        size, tuple(advice),
    )  # fmt: skip


def recipe_text(name: str, found: Survey) -> str:
    """A recipe as TOML; what it leaves out has kdtool's defaults."""
    (least, rarest), (most, commonest) = found.per_class
    few = least < FEW
    augment = least < SOME
    batch = 16 if found.images < 500 else 32
    title = f"{name}: {found.classes} classes, {found.images:,} photographs"
    fewest = f"{least:,} ({_quoted(rarest)}) to " if least < most else ""
    spread = f"{fewest}{most:,}" + (f" ({_quoted(commonest)})" if fewest else "")
    lines = [
        "# Written by kdtool init; change what you know better. All fields: kdtool recipes --show paper",
        f"# {found.images:,} photographs, {found.classes} classes.",
        f"# Training images a class: {spread}.",
        f"# Shortest sides: {found.sides[0]} to {found.sides[2]} pixels, the median {found.sides[1]}.",
        "",
        f"title = {_quoted(title)}",
        "",
        "[data]",
        f"size = {found.size}  # {_why_size(found)}",
    ]
    if not found.has_test:
        lines.append(
            f"test_fraction = {CARVED}  # no test folder: this share is kept for the verdict, opened once"
        )
    if found.unreadable:
        lines.append(f"skip_bad = false  # {found.unreadable} unreadable: look first, kdtool data check")
    lines += [
        "",
        "[teacher]",
        'arch = "resnet34"',
        'weights = "imagenet"  # needs the network once; --teacher-weights FILE without it',
        f"epochs = {10 if found.images > 20_000 else 20}  # the best validation weights are kept",
        f"batch_size = {batch}" + ("  # small: few photographs, more steps an epoch" if batch < 32 else ""),
        "",
        "[student]",
        'arch = "resnet18"',
        f"epochs = {100 if few else 60}  # stops early where validation does not get better",
        f"batch_size = {batch}",
        'schedule = "cosine"',
    ]
    if augment:
        why = f"{least} images of the rarest class are few for a student from scratch"
        lines += ["", f"[student.augment]  # {why}", "crop = 0.6", "flip = true  # not for letters or digits"]
    lines += ["", "[student.loss]", 'name = "kd"', "temperature = 4.0"]
    lines += [
        "",
        "[export]  # further forms of the models, for kdtool bundle",
        "uint8 = true  # takes pixels and normalizes them itself",
        "ort = true  # ONNX Runtime's format, for reduced builds in apps",
        "",
    ]
    return "\n".join(lines)


def _why_size(found: Survey) -> str:
    if found.size > found.sides[1]:
        return "the smallest proposed, though most photographs have fewer pixels"
    return "at least half of the photographs have as many; pixels beyond are made up"


def _advice(
    least: tuple[int, str], most: tuple[int, str], sides: tuple[int, int, int], unreadable: int, tests: int
) -> list[str]:
    said = []
    if least[0] < FEW:
        said.append(
            f"Class {least[1]!r} has {least[0]} training images; below {FEW} a class is learnt by heart. "
            "Add some."
        )
    if most[0] > IMBALANCED * max(least[0], 1):
        said.append(
            f"Class {most[1]!r} has {most[0]} training images, {least[1]!r} {least[0]}: accuracy will speak "
            "of the large classes. Look at the table by class in the report."
        )
    if sides[0] * 4 < sides[1]:
        said.append(f"Some photographs are tiny ({sides[0]} pixels): they will be blown up.")
    if unreadable:
        said.append(f"{unreadable} file(s) cannot be read; training would stop: see kdtool data check.")
    if tests < TEST_IMAGES:
        said.append(
            f"About {tests} test images: the verdict may stay INCONCLUSIVE; more of them narrow its interval."
        )
    return said or ["Nothing speaks against training on these."]


def _quoted(text: str) -> str:
    """A TOML string of one line, also for use in a comment.

    JSON's, but for two things: TOML knows no surrogate pairs, so what is beyond the first 65,536 characters
    stands as itself, and it forbids DEL as it is.
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
