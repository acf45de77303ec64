"""Bench of any ONNX files, without a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kdtool.benchmark.candidates import Candidate, Cost, TestImages, name_in, open_all
from kdtool.benchmark.measure import measure_all
from kdtool.core.errors import DataError, KdtoolError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.listing import Listing, Sample
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult
from kdtool.runtime.session import Session

SHOWN = 10


def bench_files(
    paths: Sequence[Path],
    listing: Listing | None,
    settings: BenchSettings,
    screen: Screen,
    count: Callable[[Path], Cost | None] | None = None,
    like: ModelInfo | None = None,
) -> BenchResult:
    """Measure ONNX files; role, classes and preprocessing are those that each states of itself.

    Args:
        listing: photographs with labels: its test split, or all of it where it has no splits.
            Without it, latency alone is measured.
        count: (params, MACs) of a file that does not state them.
        like: the classes, in the order of the logits, and the preprocessing of files that state none.

    Raises:
        ModelFileError: a file is broken or no classifier.
        UsageError: accuracy is asked of a file that states no classes.
        DataError: photographs that cannot be read, or of a class that a model does not know.
    """
    samples = _test_samples(listing, screen) if listing is not None else None
    pixels: dict[Preprocess, UInt8Array] = {}
    with open_all(paths, settings) as opened:
        names = _names(opened[settings.runtimes[0]])
        candidates = []
        for runtime, sessions in opened.items():
            for name, session in zip(names, sessions, strict=True):
                info, images = session.info, None
                if samples is not None:
                    known = _require_info(session, like)
                    labels = labels_of(samples, known, session.path)
                    if known.preprocess not in pixels:
                        pixels[known.preprocess] = decode_samples(samples, known.preprocess, screen)
                    images = TestImages(
                        pixels[known.preprocess], labels, known.preprocess, len(known.classes)
                    )
                role, precision = (info.role, info.precision) if info is not None else (None, None)
                name = name_in(runtime, name, settings)
                candidates.append(Candidate(name, role, precision, runtime, session, images))
        return measure_all(candidates, settings, screen, count)[0]


def _names(sessions: Sequence[Session]) -> list[str]:
    """`student`, `student-int8`, …; the path where the file states no role.

    Where several files have one role, the first keeps its name and the claim; the others go by path.
    """
    names: list[str] = []
    for session in sessions:
        info = session.info
        stated = str(session.path)
        if info is not None:
            stated = info.role if info.precision == "fp32" else f"{info.role}-{info.precision}"
        names.append(str(session.path) if stated in names else stated)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)}: named twice.", "Name each model once.")
    return names


def _test_samples(listing: Listing, screen: Screen) -> tuple[Sample, ...]:
    carved = "test" in listing.carve
    samples = tuple(sample for sample in listing.samples if carved or sample.split == "test")
    if not samples:
        raise DataError(f"{listing.source}: no photographs to test on.", "Name a folder of class folders.")
    if carved:
        screen.warn(
            f"{listing.source} has no test split; all {len(samples):,} photographs are taken. "
            "Accuracy means nothing on photographs a model was trained on."
        )
    return samples


def _require_info(session: Session, like: ModelInfo | None) -> ModelInfo:
    info = session.info or like
    if info is None:
        raise UsageError(
            f"{session.path} states neither its classes nor its preprocessing: no accuracy can be measured.",
            "Name a file with the same ones by --like FILE, or leave out --data.",
        )
    return info


def labels_of(
    samples: Sequence[Sample], info: ModelInfo, path: Path
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    position = {name: index for index, name in enumerate(info.classes)}
    unknown = sorted({sample.label for sample in samples} - position.keys())
    if unknown:
        raise DataError(
            f"{path}: the data has classes it does not know: {', '.join(unknown[:SHOWN])}; "
            f"it knows {', '.join(info.classes[:SHOWN])}{', …' if len(info.classes) > SHOWN else ''}.",
            "Name the data that the model was trained for.",
        )
    return np.array([position[sample.label] for sample in samples], np.int64)


def decode_samples(samples: Sequence[Sample], preprocess: Preprocess, screen: Screen) -> UInt8Array:
    """(N, S, S, 3). All photographs that cannot be read are named at once."""
    images = np.empty((len(samples), preprocess.size, preprocess.size, 3), np.uint8)
    bad: list[str] = []
    with screen.bar("decoding", len(samples)) as bar:
        for index, sample in enumerate(samples):
            try:
                images[index] = preprocess.read(_read(sample), sample.path)
            except DataError as error:
                bad.append(error.message)
            bar.advance()
    if bad:
        more = f"\n  … {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            "\n  ".join([f"{len(bad)} photographs cannot be read.", *bad[:SHOWN]]) + more,
            "Repair or remove them.",
        )
    return images


def _read(sample: Sample) -> bytes:
    try:
        return sample.read()
    except KdtoolError:
        raise
    except OSError as error:
        raise DataError(f"{sample.path}: cannot be read ({error.strerror or error}).") from error
