"""The lines that `prepare` shows to the user."""

from __future__ import annotations

from datetime import datetime

from kdtool.core.screen import Screen
from kdtool.core.text import printable
from kdtool.data.listing import Listing
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings
from kdtool.runs.stage import Stage, read_manifest


def tell(listing: Listing, settings: DataSettings, screen: Screen) -> None:
    """Show the decisions made for the user: the splits that are carved and the files that are ignored."""
    for split in listing.carve:
        fraction = settings.validation_fraction if split == "validation" else settings.test_fraction
        screen.say(
            f"{listing.source}: there is no {split} split; {fraction:.0%} of train is taken for it "
            "(stratified, seeded)"
        )
    if listing.ignored:
        kinds = ", ".join(f"{count} × {printable(kind)}" for kind, count in listing.ignored.items())
        screen.say(f"{listing.source}: ignored {kinds}")


def summary(prepared: Prepared) -> str:
    """Describe the data in one line: classes, images of each split and their size."""
    counts = ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())
    side = prepared.preprocess.size
    return f"{len(prepared.classes)} classes; {counts} images of {side} × {side}"


def tell_change(stage: Stage, screen: Screen) -> None:
    """Show that the prepared data is about to be replaced, if it was made from other photographs."""
    before = read_manifest(stage.manifest_path)
    if before and before.stage == stage.name and before.inputs.get("content") != stage.inputs["content"]:
        when = datetime.fromtimestamp(stage.manifest_path.stat().st_mtime).astimezone()
        screen.say(f"prepare: the photographs changed since {when:%Y-%m-%d %H:%M}; preparing again")
