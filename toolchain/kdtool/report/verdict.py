"""The text of the verdict at the head of the page."""

from __future__ import annotations

from dataclasses import dataclass

from kdtool.results.bench import BenchResult
from kdtool.results.wording import HEADLINES, result_in_words


@dataclass(frozen=True)
class VerdictText:
    """`name` is PASS, FAIL, INCONCLUSIVE, or NONE where nothing was judged."""

    name: str
    headline: str
    sentences: tuple[str, ...]


NOT_JUDGED = VerdictText(
    "NONE",
    "Nothing was judged.",
    (
        "The claim compares a teacher with its student on the same test images; "
        "this run has no such measurement yet.",
    ),
)


def in_words(result: BenchResult) -> VerdictText:
    """The sentences of the terminal."""
    verdict = result.claim.verdict
    sentences = tuple(map(unbroken, result_in_words(result)))
    return VerdictText(verdict, HEADLINES[verdict], sentences)


def unbroken(text: str) -> str:
    """A text in which no line break parts a percentage from its sign."""
    return text.replace(" %", "\u00a0%")
