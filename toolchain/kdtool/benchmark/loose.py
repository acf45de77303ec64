"""Measure any ONNX files, without a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdtool.benchmark.candidates import Candidate, Cost, TestImages, name_in, open_all
from kdtool.benchmark.measure import measure_all
from kdtool.core.errors import DataError, KdtoolError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.core.spelling import argument, assigned
from kdtool.data.listing import Listing, Sample
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult
from kdtool.results.claim import Bound
from kdtool.runtime.session import Session

SHOWN = 10


def bench_files(
    paths: Sequence[Path],
    listing: Listing | None,
    settings: BenchSettings,
    screen: Screen,
    count: Callable[[Path], Cost | None] | None = None,
    like: ModelInfo | None = None,
    bounds: Sequence[Bound] = (),
    *,
    skip_bad: bool = False,
) -> BenchResult:
    """Measure ONNX files; each states its role, its classes and its preprocessing.

    Without names in the settings, a claim is about the second of two files, relative to the first.

    Args:
        listing: photographs with labels; the test split is used, or all samples if there are no splits.
            None measures latency alone.
        count: function that finds (params, MACs) of a file that does not state them.
        like: classes, in the order of the logits, and preprocessing of files that state none.
        bounds: the claim; without bounds the files are compared, without a verdict.
        skip_bad: leave unreadable photographs out, with a note, instead of stopping.

    Raises:
        ModelFileError: a file is broken or is not a classifier.
        UsageError: the claim may mean several files, or accuracy is wanted, but a file states no classes.
        DataError: a photograph cannot be read, or a model does not know its class.
    """
    samples, notes = _test_samples(listing) if listing is not None else (None, ())
    for note in notes:
        screen.warn(note)
    pixels: dict[Preprocess, UInt8Array] = {}
    with open_all(paths, settings) as opened:
        names = _names(opened[settings.runtimes[0]])
        settings = _sides(settings, names, bounds)
        if samples is not None and skip_bad:
            first = _require_info(opened[settings.runtimes[0]][0], like).preprocess
            samples, pixels[first], left_out = _without_bad(samples, first, screen)
            notes = (*notes, *left_out)
        candidates = []
        for runtime, sessions in opened.items():
            for name, session in zip(names, sessions, strict=True):
                info, images = session.info, None
                if samples is not None:
                    model = _require_info(session, like)
                    labels = labels_of(samples, model, session.path)
                    if model.preprocess not in pixels:
                        pixels[model.preprocess] = decode_samples(samples, model.preprocess, screen)
                    images = TestImages(
                        pixels[model.preprocess], labels, model.preprocess, len(model.classes)
                    )
                role, precision = (info.role, info.precision) if info is not None else (None, None)
                name = name_in(runtime, name, settings)
                candidates.append(Candidate(name, role, precision, runtime, session, images))
        result = measure_all(candidates, settings, screen, count, bounds)[0]
    return replace(result, notes=(*notes, *result.notes))


def _names(sessions: Sequence[Session]) -> list[str]:
    """Name each model by its role, such as `student` or `student-int8`; by its path if it states no role.

    If several files have the same role and precision, the claim is about the first; the others have their
    paths as names.
    """
    names: list[str] = []
    for session in sessions:
        info = session.info
        name = str(session.path)
        if info is not None:
            name = info.role if info.precision == "fp32" else f"{info.role}-{info.precision}"
        names.append(str(session.path) if name in names else name)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)}: named twice.", "Name each model once.")
    return names


def _sides(settings: BenchSettings, names: Sequence[str], bounds: Sequence[Bound]) -> BenchSettings:
    """Choose the judged model and the reference among files without these roles: the second and the first.

    Raises:
        UsageError: there is a claim, and more than one file may be meant.
    """
    usual = BenchSettings()
    changes = {}
    reference = settings.reference
    if reference == usual.reference and reference not in names and len(names) > 1:
        reference = changes["reference"] = next(name for name in names if name != settings.judged)
    if settings.judged == usual.judged and settings.judged not in names:
        others = [name for name in names if name != reference]
        if bounds and len(others) > 1:
            raise UsageError(
                f"The claim is about one file, but {len(others)} may be meant: {', '.join(others)}.",
                f"Name it: {assigned({'bench.judged': others[0]})}",
            )
        changes["judged"] = (others or list(names))[0]
    return settings.model_copy(update=changes)


def _test_samples(listing: Listing) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Choose the samples to test on; the second value has a note if a model may be trained on them."""
    carved = "test" in listing.carve
    samples = tuple(sample for sample in listing.samples if carved or sample.split == "test")
    if not samples:
        raise DataError(
            f"{listing.source}: there are no photographs to test on.", "Name a folder of class folders."
        )
    return samples, (seen_note(listing.source, "test", f"all {len(samples):,}"),) if carved else ()


def seen_note(source: str, split: str, taken: str) -> str:
    """Write the note on an accuracy that is measured on photographs without splits."""
    return (
        f"{source} has no {split} split; {taken} photographs are taken. "
        "Accuracy means nothing on photographs that a model was trained on."
    )


def _require_info(session: Session, like: ModelInfo | None) -> ModelInfo:
    info = session.info or like
    if info is None:
        raise UsageError(
            f"{session.path} states neither its classes nor its preprocessing, so its accuracy cannot be "
            "measured.",
            f"Give {argument('classes and preprocess')}, or no photographs.",
        )
    return info


def labels_of(
    samples: Sequence[Sample], info: ModelInfo, path: Path
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the label of each sample as an index into the classes of a model, (N,).

    Raises:
        DataError: the model does not know the class of a sample.
    """
    position = {name: index for index, name in enumerate(info.classes)}
    unknown = sorted({sample.label for sample in samples} - position.keys())
    if unknown:
        raise DataError(
            f"{path}: the model does not know these classes of the data: {', '.join(unknown[:SHOWN])}; "
            f"it knows {', '.join(info.classes[:SHOWN])}{', …' if len(info.classes) > SHOWN else ''}.",
            "Name the data that the model was trained for.",
        )
    return np.array([position[sample.label] for sample in samples], np.int64)


def decode_samples(samples: Sequence[Sample], preprocess: Preprocess, screen: Screen) -> UInt8Array:
    """Decode, resize and crop samples to (N, S, S, 3) uint8.

    Raises:
        DataError: photographs cannot be read; the message names all of them, up to a limit.
    """
    images, bad = _decoded(samples, preprocess, screen)
    if bad:
        more = f"\n  … {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        lines = [
            f"{len(bad)} photographs cannot be read.",
            *(error.message for error in list(bad.values())[:SHOWN]),
        ]
        raise DataError(
            "\n  ".join(lines) + more,
            "\n".join(dict.fromkeys(error.hint for error in bad.values())),
        )
    return images


def _without_bad(
    samples: Sequence[Sample], preprocess: Preprocess, screen: Screen
) -> tuple[tuple[Sample, ...], UInt8Array, tuple[str, ...]]:
    """Decode the samples that can be decoded; the last value has a note if there are others."""
    images, bad = _decoded(samples, preprocess, screen)
    if len(bad) == len(samples):
        raise DataError("No photograph can be read.", "Name other photographs.")
    kept = [index for index in range(len(samples)) if index not in bad]
    names = ", ".join([samples[index].path for index in bad][:SHOWN]) + (", …" if len(bad) > SHOWN else "")
    note = f"Left out, because unreadable: {len(bad)} of {len(samples)} photographs ({names})."
    return tuple(samples[index] for index in kept), images[kept], (note,) if bad else ()


def _decoded(
    samples: Sequence[Sample], preprocess: Preprocess, screen: Screen
) -> tuple[UInt8Array, dict[int, DataError]]:
    """Images (N, S, S, 3) of the samples, and index → cause of those that cannot be decoded."""
    images = np.empty((len(samples), preprocess.size, preprocess.size, 3), np.uint8)
    bad: dict[int, DataError] = {}
    with screen.bar("decoding", len(samples)) as bar:
        for index, sample in enumerate(samples):
            try:
                images[index] = preprocess.read(_read(sample), sample.path)
            except DataError as error:
                bad[index] = error
            bar.advance()
    return images, bad


def _read(sample: Sample) -> bytes:
    try:
        return sample.read()
    except KdtoolError:
        raise
    except OSError as error:
        raise DataError(
            f"{sample.path}: cannot be read ({error.strerror or error}).",
            "Check that the file exists and may be read.",
        ) from error
