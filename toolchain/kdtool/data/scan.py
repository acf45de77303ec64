"""Decode every photograph before anything is trained, and report all findings at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.carve import assign
from kdtool.data.findings.duplicates import exact_findings, near_findings
from kdtool.data.findings.finding import Finding, data_error, describe
from kdtool.data.findings.structure import class_findings, few_findings
from kdtool.data.listing import Listing
from kdtool.data.photo import Photo, Unreadable, scan_sample
from kdtool.machine.parallel import ordered_map
from kdtool.recipe.settings import DataSettings


@dataclass(frozen=True)
class Scan:
    """The outcome of a scan.

    Attributes:
        photos: the readable samples, in the order of the listing.
        splits: the split of each photo, also those carved out of train.
        unreadable: the other samples, which `skip_bad` leaves out.
        findings: the fatal findings and the warnings.
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
        """Show the warnings; raise DataError with all fatal findings, if any."""
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
        keep: function that receives the (size, size, 3) uint8 pixels of each readable photograph, in the
            order of `Scan.photos`.
    """
    preprocess = preprocess_of(settings)
    photos: list[Photo] = []
    unreadable: list[Unreadable] = []
    with screen.bar("scan", len(listing.samples)) as bar:
        for outcome, pixels in ordered_map(partial(scan_sample, preprocess=preprocess), listing.samples):
            if isinstance(outcome, Unreadable):
                unreadable.append(outcome)
            else:
                photos.append(outcome)
                if keep and pixels is not None:
                    keep(pixels)
            bar.advance()
    hashes = [photo.pixels_sha256 for photo in photos]
    splits = assign(listing, [photo.sample for photo in photos], hashes, settings, seed)
    findings = (
        *class_findings(listing, photos),
        *(
            Finding("unreadable", bad.reason, (bad.sample.path,), not settings.skip_bad, bad.hint)
            for bad in unreadable
        ),
        *few_findings(listing, photos),
        *exact_findings(photos, splits, settings.allow_leaks),
        *near_findings(photos, splits),
    )
    return Scan(listing, tuple(photos), tuple(splits), tuple(unreadable), findings)


def preprocess_of(settings: DataSettings) -> Preprocess:
    """Make the preprocessing of the recipe: resize and crop; mean and std are not known yet."""
    return Preprocess(settings.resize or settings.size, settings.size, settings.interpolation)
