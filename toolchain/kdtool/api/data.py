"""Photographs that are prepared once, also as a torch Dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.checks import check_seed
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_json
from kdtool.core.preprocess import Preprocess
from kdtool.core.spelling import Caller, called_from
from kdtool.data.reader import DATA_FILE, Prepared, open_prepared
from kdtool.machine.terminal import screen_of
from kdtool.runs.folder import ARTIFACTS, RunFolder
from kdtool.runs.lock import run_lock

if TYPE_CHECKING:
    from kdtool.api.training.dataset import PhotographDataset


@dataclass(frozen=True)
class Data:
    """Photographs in splits, decoded, resized and cropped; `kdtool.open_data` opens them.

    Attributes:
        prepared: the prepared files.

    Example:
        data = kdtool.open_data("photographs/")
        data.classes, data.splits
    """

    prepared: Prepared

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; label k means classes[k]."""
        return self.prepared.classes

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of images in each split: train, validation and test."""
        return self.prepared.counts

    @property
    def preprocess(self) -> Preprocess:
        """Preprocessing of a photograph for a network, with mean and std of the training images."""
        return self.prepared.preprocess

    @called_from(Caller.FUNCTION)
    def torch(self, split: str, transform: Callable[[Any], Any] | None = None) -> PhotographDataset:
        """Open a split as a torch Dataset, for a DataLoader with any number of workers.

        Args:
            split: train, validation or test.
            transform: function of an image before normalization: uint8 tensor (3, S, S) → uint8 tensor
                (3, H, W), such as a transform of torchvision.transforms.v2.

        Returns:
            A torch.utils.data.Dataset of (image, label): float32 (3, S, S), normalized, and int.

        Raises:
            DataError: there is no such split, or its photographs changed or are no longer there.
        """
        from kdtool.machine.packages import require_training

        require_training("open_data")
        from kdtool.api.training.dataset import PhotographDataset

        return PhotographDataset(self.prepared, split, transform)

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        side = self.preprocess.size
        return f"Data({self.prepared.folder}: {counts}; {len(self.classes)} classes, {side} × {side} pixels)"


@called_from(Caller.FUNCTION)
def open_data(
    data: str | Path | None,
    *,
    size: int = 224,
    resize: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Data:
    """Open photographs; if they are not prepared yet, check, split and decode them first.

    Args:
        data: a folder of class folders, a manifest or the name of a data set; None is the embedded digits. Or
            the folder of a run, or its folder data/: these are opened without change.
        size: side of the square images, pixels.
        resize: length of the shortest side before the centre crop, pixels; 0 is `size`.
        seed: seed of the splits, if the photographs have none; 0 to 2³² − 1.
        out: folder for the decoded images; None is a folder in artifacts/data/ for these photographs, size,
            resize and seed.
        quiet: print nothing on standard error.

    Raises:
        UsageError: kdtool cannot open data, or an argument is wrong.
        DataError: the photographs are not fit for training; the message names all findings.
        LockedError: another process prepares them in the same folder.

    Example:
        train = kdtool.open_data("photographs/").torch("train")
        loader = torch.utils.data.DataLoader(train, batch_size=32, shuffle=True)
    """
    from kdtool.api.arguments import checked_settings
    from kdtool.data.prepare import prepare
    from kdtool.data.sources import resolve
    from kdtool.recipe.settings import DataSettings

    place = Path(data) if data is not None else None
    if place is not None and RunFolder(place).record.is_file():
        run = RunFolder(place)
        return Data(open_prepared(run.data).at(str(run.read_record()["source"])))
    if place is not None and (place / DATA_FILE).is_file():
        return Data(open_prepared(place))
    settings, seed = checked_settings(DataSettings, size=size, resize=resize), check_seed(seed)
    source = resolve(None if data is None else str(data))
    digest = sha256_json([source, settings.model_dump(mode="json"), seed])
    folder = Path(out) if out is not None else ARTIFACTS / "data" / f"{Path(source).stem}-{digest[:8]}"
    if Path(source).is_dir() and folder.resolve().is_relative_to(source):
        raise UsageError(
            f"out: {folder} would be inside the folder of photographs {source}.",
            "Name another folder: out=…",
        )
    with run_lock(folder):
        prepared, _ = prepare(source, settings, seed, folder, screen_of(quiet))
    return Data(prepared)
