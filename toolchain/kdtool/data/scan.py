"""Every photograph fully decoded before anything is trained; all findings at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.carve import assign
from kdtool.data.examine import Photo, Unreadable, examine
from kdtool.data.findings.duplicates import exact_findings, near_findings
from kdtool.data.findings.finding import Finding, data_error, describe
from kdtool.data.findings.structure import class_findings, few_findings
from kdtool.data.listing import Listing
from kdtool.machine.parallel import ordered_map
from kdtool.recipe.settings import DataSettings


@dataclass(frozen=True)
class Scan:
    """The outcome.

    Attributes:
        photos: the readable ones, in the listing's order.
        splits: the split of each of `photos`, carved ones included.
        unreadable: the others; with `skip_bad` they are left out.
        findings: fatal ones and warnings.
    """

    listing: Listing
    photos: tuple[Photo, ...]
    splits: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> bool:
        return any(finding.fatal for finding in self.findings)

    def require(self, screen: Screen) -> None:
        """Warn of what is to be warned of; raises DataError with all fatal findings, if there are any."""
        warnings = [finding for finding in self.findings if not finding.fatal]
        if warnings:
            screen.warn(f"{self.listing.source}:\n{describe(warnings)}")
        if self.fatal:
            raise data_error(self.listing.source, self.findings)


def scan(
    listing: Listing,
    settings: DataSettings,
    seed: int,
    screen: Screen,
    keep: Callable[[UInt8Array], None] | None = None,
) -> Scan:
    """Decode every sample of `listing` once.

    Args:
        keep: receives the (size, size, 3) uint8 pixels of each readable photograph, in the order of
            `Scan.photos`.
    """
    preprocess = preprocess_of(settings)
    photos: list[Photo] = []
    unreadable: list[Unreadable] = []
    with screen.bar("scan", len(listing.samples)) as bar:
        for outcome, pixels in ordered_map(partial(examine, preprocess=preprocess), listing.samples):
            if isinstance(outcome, Unreadable):
                unreadable.append(outcome)
            else:
                photos.append(outcome)
                if keep and pixels is not None:
                    keep(pixels)
            bar.advance()
    samples, pictures = [photo.sample for photo in photos], [photo.picture for photo in photos]
    splits = assign(listing, samples, pictures, settings, seed)
    findings = (
        *class_findings(listing, photos),
        *(Finding("unreadable", bad.reason, (bad.sample.path,), not settings.skip_bad) for bad in unreadable),
        *few_findings(listing, photos),
        *exact_findings(photos, splits, settings.allow_leaks),
        *near_findings(photos, splits),
    )
    return Scan(listing, tuple(photos), tuple(splits), tuple(unreadable), findings)


def preprocess_of(settings: DataSettings) -> Preprocess:
    """Resize and crop as the recipe says; mean and std are not known yet."""
    return Preprocess(settings.resize or settings.size, settings.size, settings.interpolation)
