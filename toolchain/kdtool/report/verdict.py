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
    """The sentences of the terminal; a no-break space keeps each percentage with its sign."""
    verdict = result.claim.verdict
    sentences = tuple(sentence.replace(" %", "\u00a0%") for sentence in result_in_words(result))
    return VerdictText(verdict, HEADLINES[verdict], sentences)
