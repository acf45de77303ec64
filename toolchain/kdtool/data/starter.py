"""`kdtool init`: survey photographs and write a recipe with a reason beside most lines.

The photo files are opened and not decoded. The recipe is the one that was measured best
(`kdtool.recipe.advised`); it follows the size of the photographs, the imbalance of the classes, their names,
which decide about mirroring, where the model will run, and the time that training may take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdtool.core.errors import DataError
from kdtool.core.preprocess import open_image
from kdtool.core.screen import Screen
from kdtool.data.carve import planned_counts, planned_train
from kdtool.data.listing import Listing
from kdtool.recipe.advised import FEWEST_EPOCHS, MOST_EPOCHS, Plan, advised_fields, freezes_teacher
from kdtool.recipe.settings import DataSettings

FEW = 30  # training images of a class
IMBALANCED = 5.0  # largest class / smallest class
TEST_IMAGES = 500  # fewer give the accuracy an interval of about ± 4 percentage points or more
CARVED = 0.15
TARGET_NAMES = {"phone": "a phone", "web": "a web page", "pi": "a Raspberry Pi", "server": "a server"}
SIDES = frozenset(
    "left right links rechts gauche droite izquierda derecha sinistra destra esquerda direita".split()  # noqa: SIM905
)
DIGITS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
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
        not_mirrored: why a mirrored photograph may show another class; empty if it shows the same.
        advice: sentences for the user.
        unlabelled: folder of photographs without labels; empty if there is none.
    """

    images: int
    classes: int
    per_class: tuple[tuple[int, str], tuple[int, str]]
    sides: tuple[int, int, int]
    unreadable: int
    has_test: bool
    not_mirrored: str
    advice: tuple[str, ...]
    unlabelled: str = ""

    @property
    def imbalanced(self) -> bool:
        """True if the largest class has more than `IMBALANCED` times the images of the smallest."""
        (least, _), (most, _) = self.per_class
        return most > IMBALANCED * max(least, 1)


def survey(listing: Listing, screen: Screen, unlabelled: str = "") -> Survey:
    """Read the size of each photograph from the header of its file; nothing is decoded.

    Args:
        unlabelled: folder of photographs without labels, which are not looked at.

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
    has_test = "test" not in listing.carve
    tests = planned_counts(listing, settings, SEED)["test"]
    mirrored = not_mirrored(listing.classes)
    advice = _advice(ranked[0], ranked[-1], range_of_sides, unreadable, tests, mirrored)
    return Survey(
        len(listing.samples), len(listing.classes), (ranked[0], ranked[-1]), range_of_sides, unreadable,
        has_test, mirrored, tuple(advice), unlabelled,
    )  # fmt: skip


def recipe_text(name: str, surveyed: Survey, target: str, chosen: Plan) -> str:
    """Write a recipe as TOML, with a reason beside most lines; other fields have kdtool's defaults.

    Args:
        target: where the model will run, a key of `kdtool.recipe.advised.TARGETS`.
        chosen: side of the input and number of epochs.
    """
    (least, rarest), (most, commonest) = surveyed.per_class
    title = f"{name}: {surveyed.classes} classes, {surveyed.images:,} photographs, for {TARGET_NAMES[target]}"
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
    ]
    for section, fields in _sections(advised_of(surveyed, chosen)).items():
        lines += ["", f"[{section}]"]
        if section == "data" and not surveyed.has_test:
            fields["test_fraction"] = CARVED
        if section == "data" and surveyed.unreadable:
            fields["skip_bad"] = False
        lines += [
            f"{key} = {_toml(value)}{_why(f'{section}.{key}', surveyed, chosen)}"
            for key, value in fields.items()
        ]
    lines += [
        "",
        "[export]  # other formats of the models, for kdtool bundle",
        "uint8 = true  # a model that takes pixels and normalizes them itself",
        "ort = true  # the format of ONNX Runtime for reduced builds in apps",
        "",
    ]
    return "\n".join(lines)


def advised_of(surveyed: Survey, chosen: Plan) -> dict[str, object]:
    """Fields of the advised recipe for these photographs, as `section.key`."""
    fields = advised_fields(
        chosen.size,
        chosen.epochs,
        surveyed.images,
        mirror=not surveyed.not_mirrored,
        unlabelled=surveyed.unlabelled,
    )
    if surveyed.imbalanced:
        fields["data.balance"] = "sample"
        fields["student.selection"] = "balanced_accuracy"
    return fields


def _sections(fields: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Group fields by section, in the order of a recipe."""
    names = ("data", "teacher", "teacher.augment", "student", "student.augment", "student.loss")
    found = {
        name: {
            key.rpartition(".")[2]: value for key, value in fields.items() if key.rpartition(".")[0] == name
        }
        for name in names
    }
    return {name: section for name, section in found.items() if section}


def _why(field: str, surveyed: Survey, chosen: Plan) -> str:
    """Reason for a line, as a comment; empty if the line says it itself."""
    (least, rarest), (most, commonest) = surveyed.per_class
    reasons = {
        "data.size": _why_size(surveyed, chosen),
        "data.test_fraction": "no test folder: kdtool keeps this share for the verdict",
        "data.skip_bad": f"{surveyed.unreadable} file(s) cannot be read; see first: kdtool data check",
        "data.balance": f"{_quoted(commonest)} has {most:,} training images, {_quoted(rarest)} {least:,}: "
        "draw every class alike",
        "teacher.train": "frozen, with a linear classifier on its features: minutes instead of hours",
        "teacher.size": "the teacher sees the same cut at its own size",
        "teacher.epochs": "no effect: a frozen teacher is not trained"
        if freezes_teacher(chosen.epochs, surveyed.unlabelled)
        else "",
        "student.weights": "downloaded once; without a network: --student-weights FILE",
        "student.epochs": "as many as the time allows" if chosen.epochs < MOST_EPOCHS else "",
        "student.lr": "" if chosen.epochs >= FEWEST_EPOCHS else "low, since there are few epochs",
        "ema": "the kept weights are an average over about the last hundred steps"
        if chosen.epochs >= FEWEST_EPOCHS
        else "",
        "freeze_norm": "few photographs cannot learn better statistics than the weights have",
        "selection": "the learning rate has fallen to zero",
        "student.selection": "every class counts alike" if surveyed.imbalanced else "",
        "precision": "bfloat16 is slower for depthwise convolutions",
        "augment.crop": "smallest share of the whole photograph that a view shows",
        "augment.flip": surveyed.not_mirrored or "the mirrored photograph shows the same class",
        "student.loss.weight": "what the photographs without labels teach comes from the teacher alone"
        if surveyed.unlabelled
        else "the teacher's part; without a teacher: kdtool run … --baseline",
    }
    reason = reasons.get(field) or reasons.get(field.partition(".")[2], "")
    return f"  # {reason}" if reason else ""


def _why_size(surveyed: Survey, chosen: Plan) -> str:
    if chosen.size > surveyed.sides[1]:
        return "the smallest size that kdtool proposes, though most photographs are smaller"
    return "compute grows with the square of this side"


def _toml(value: object) -> str:
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def not_mirrored(classes: Sequence[str]) -> str:
    """Say why a mirrored photograph may show another class; empty if the names give no reason."""
    names = [name.strip().casefold() for name in classes]
    sided = [name for name, low in zip(classes, names, strict=True) if SIDES & set(re.split(r"[\W_]+", low))]
    if sided:
        return f"a class is called {_quoted(sided[0])}"
    if sum(name.isdigit() or name in DIGITS for name in names) * 2 >= len(names):
        return "the classes are digits"
    if sum(len(name) == 1 and name.isalpha() for name in names) * 2 >= len(names):
        return "the classes are letters"
    return ""


def _advice(
    least: tuple[int, str],
    most: tuple[int, str],
    sides: tuple[int, int, int],
    unreadable: int,
    tests: int,
    mirrored: str,
) -> list[str]:
    sentences = []
    if mirrored:
        sentences.append(f"Views are not mirrored, since {mirrored}.")
    if least[0] < FEW:
        sentences.append(
            f"The class {least[1]!r} has {least[0]} training images; with fewer than {FEW}, a network learns "
            "a class by heart. Add photographs."
        )
    if most[0] > IMBALANCED * max(least[0], 1):
        sentences.append(
            f"The class {most[1]!r} has {most[0]} training images, {least[1]!r} has {least[0]}: the recipe "
            "draws every class alike and keeps the epoch with the best balanced accuracy."
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
