"""The text of the verdict at the head of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kdtool.results.bench import BenchResult
from kdtool.results.wording import HEADLINES, result_in_words


@dataclass(frozen=True)
class VerdictText:
    """The verdict in words; `name` is PASS, FAIL, INCONCLUSIVE, or NONE if nothing was judged."""

    name: str
    headline: str
    sentences: tuple[str, ...]


NOT_JUDGED = VerdictText(
    "NONE",
    "No claim was judged.",
    (
        "The claim compares a teacher with its student on the same test images; "
        "this run has no such measurement yet.",
    ),
)


def in_words(result: BenchResult) -> VerdictText:
    """Return the sentences that the terminal shows."""
    verdict = result.claim.verdict or "INCONCLUSIVE"  # of a run there is always a claim
    sentences = tuple(map(unbroken, result_in_words(result)))
    return VerdictText(verdict, HEADLINES[verdict], sentences)


def unbroken(text: str) -> str:
    """Replace the space before each unit, so that no line break parts them."""
    return re.sub(r"(?<=\d) (?=(%|MB|ms)\b|%)", "\u00a0", text)
