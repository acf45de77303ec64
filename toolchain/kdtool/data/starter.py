"""`kdtool init`: survey photographs and write a recipe with a reason beside most lines.

The photo files are opened and not decoded. The recipe follows from four figures: the number of classes, the
training images of each class, the imbalance of the classes, and the size of the photographs.
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
FEW, SOME = 30, 200  # training images of a class
IMBALANCED = 5.0  # largest class / smallest class
TEST_IMAGES = 500  # fewer give the accuracy an interval of about ± 4 percentage points or more
CARVED = 0.15
SEED = 0  # chooses the photographs that are carved; their number does not depend on it


@dataclass(frozen=True)
class Survey:
    """Figures of photographs, from the headers of their files alone.

    Attributes:
        images, classes: number of photographs, of classes.
        per_class: training images and name of the smallest and of the largest class, after carving.
        sides: shortest side in pixels: its smallest, median and largest value.
        unreadable: number of files with a header that no decoder knows.
        has_test: True if the source has a test split.
        size: proposed side of the images, pixels.
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
    """Read the size of each photograph from the header of its file; nothing is decoded.

    Raises:
        DataError: there are fewer than two classes, or no readable photograph.
    """
    if len(listing.classes) < 2:
        raise DataError(
            f"{listing.source} has {len(listing.classes)} class(es); a classifier needs two or more.",
            "Put the photographs of each class into a folder of its own.",
        )
    sides, unreadable = [], 0
    with screen.bar("look", len(listing.samples)) as bar:
        for sample in listing.samples:
            try:
                sides.append(min(open_image(sample.read()).size))
            except Exception:  # broken bytes make a decoder raise any kind of error
                unreadable += 1
            bar.advance()
    if not sides:
        raise DataError(
            f"{listing.source} has no readable photograph.", f"See: kdtool data check {listing.source}"
        )
    sides.sort()
    settings = DataSettings(test_fraction=CARVED)  # the fraction in the recipe that is written
    ranked = sorted((count, name) for name, count in planned_train(listing, settings, SEED).items())
    range_of_sides = (sides[0], sides[len(sides) // 2], sides[-1])
    size = next((size for size in SIZES if size <= range_of_sides[1]), SIZES[-1])
    has_test = "test" not in listing.carve
    tests = planned_counts(listing, settings, SEED)["test"]
    advice = _advice(ranked[0], ranked[-1], range_of_sides, unreadable, tests)
    return Survey(
        len(listing.samples), len(listing.classes), (ranked[0], ranked[-1]), range_of_sides, unreadable,
        has_test, size, tuple(advice),
    )  # fmt: skip


def recipe_text(name: str, surveyed: Survey) -> str:
    """Write a recipe as TOML; fields that it leaves out have kdtool's defaults."""
    (least, rarest), (most, commonest) = surveyed.per_class
    few = least < FEW
    augment = least < SOME
    batch = 16 if surveyed.images < 500 else 32
    title = f"{name}: {surveyed.classes} classes, {surveyed.images:,} photographs"
    fewest = f"{least:,} ({_quoted(rarest)}) to " if least < most else ""
    spread = f"{fewest}{most:,}" + (f" ({_quoted(commonest)})" if fewest else "")
    lines = [
        "# kdtool init wrote this recipe; change it where you know better. "
        "All fields: kdtool recipes --show paper",
        f"# {surveyed.images:,} photographs, {surveyed.classes} classes.",
        f"# Training images of each class: {spread}.",
        f"# Shortest side of a photograph: {surveyed.sides[0]} to {surveyed.sides[2]} pixels, median "
        f"{surveyed.sides[1]}.",
        "",
        f"title = {_quoted(title)}",
        "",
        "[data]",
        f"size = {surveyed.size}  # {_why_size(surveyed)}",
    ]
    if not surveyed.has_test:
        lines.append(f"test_fraction = {CARVED}  # no test folder: kdtool keeps this share for the verdict")
    if surveyed.unreadable:
        lines.append(
            f"skip_bad = false  # {surveyed.unreadable} file(s) cannot be read; see first: kdtool data check"
        )
    lines += [
        "",
        "[teacher]",
        'arch = "resnet34"',
        'weights = "imagenet"  # downloaded once; without a network: --teacher-weights FILE',
        f"epochs = {10 if surveyed.images > 20_000 else 20}  # kdtool keeps the weights of the best epoch",
        f"batch_size = {batch}"
        + ("  # small, since photographs are few: more steps an epoch" if batch < 32 else ""),
        "",
        "[student]",
        'arch = "resnet18"',
        f"epochs = {100 if few else 60}  # training stops early if validation does not improve",
        f"batch_size = {batch}",
        'schedule = "cosine"',
    ]
    if augment:
        why = f"the smallest class has {least} images, few for a student from scratch"
        lines += ["", f"[student.augment]  # {why}", "crop = 0.6", "flip = true  # not for letters or digits"]
    lines += ["", "[student.loss]", 'name = "kd"', "temperature = 4.0"]
    lines += [
        "",
        "[export]  # other formats of the models, for kdtool bundle",
        "uint8 = true  # a model that takes pixels and normalizes them itself",
        "ort = true  # the format of ONNX Runtime for reduced builds in apps",
        "",
    ]
    return "\n".join(lines)


def _why_size(surveyed: Survey) -> str:
    if surveyed.size > surveyed.sides[1]:
        return "the smallest size that kdtool proposes, though most photographs are smaller"
    return "at least half of the photographs are that large; enlarging them adds no detail"


def _advice(
    least: tuple[int, str], most: tuple[int, str], sides: tuple[int, int, int], unreadable: int, tests: int
) -> list[str]:
    sentences = []
    if least[0] < FEW:
        sentences.append(
            f"The class {least[1]!r} has {least[0]} training images; with fewer than {FEW}, a network learns "
            "a class by heart. Add photographs."
        )
    if most[0] > IMBALANCED * max(least[0], 1):
        sentences.append(
            f"The class {most[1]!r} has {most[0]} training images, {least[1]!r} has {least[0]}: the large "
            "classes will dominate the accuracy. Look at the accuracy by class in the report."
        )
    if sides[0] * 4 < sides[1]:
        sentences.append(f"Some photographs are tiny ({sides[0]} pixels) and will be enlarged.")
    if unreadable:
        sentences.append(
            f"{unreadable} file(s) cannot be read; training would stop at them. See: kdtool data check"
        )
    if tests < TEST_IMAGES:
        sentences.append(
            f"There are about {tests} test images: the verdict may stay INCONCLUSIVE. More test images give "
            "a narrower interval."
        )
    return sentences or ["These photographs are fit for training."]


def _quoted(text: str) -> str:
    """Write a TOML string of one line, also for use in a comment.

    TOML strings are JSON strings with two exceptions: TOML has no surrogate pairs, so characters beyond the
    first 65,536 are not escaped, and TOML forbids a plain DEL.
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
