"""Targets of a bundle: kinds of app, and the model files that each of them loads.

A new target is one entry of `TARGETS`; a new release is one line of `RELEASES`. A release of ONNX Runtime
loads every file up to its own versions. If the package of a platform contains an older release, the limits
of that release hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdtool.bundle.shipped import ShippedModel
from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import Screen
from kdtool.core.spelling import argument
from kdtool.results.figures import megabytes

MEGABYTE = 1e6


@dataclass(frozen=True)
class NewestVersions:
    """Newest versions that a release loads: IR, standard operators (opset), .ort format."""

    ir: int
    opset: int
    ort: int


# Tried with these releases, and equal to their table of compatibility; sources in decision 0035.
RELEASES = {
    "1.17": NewestVersions(9, 20, 6),
    "1.20": NewestVersions(10, 21, 6),
}


@dataclass(frozen=True)
class Target:
    """One kind of app.

    Attributes:
        package: package with ONNX Runtime that the app depends on.
        release: oldest release of ONNX Runtime in that package.
        megabytes: size above which a model file is too large to download or to ship.
        kinds: kinds of model file that run well, best first; without `int8` if the platform runs it slowly.
        processor: processor as `kdtool quantize --target` calls it; "" if the app runs on any processor.
    """

    name: str
    package: str
    release: str
    megabytes: int
    kinds: tuple[str, ...]
    processor: str
    note: str

    @property
    def newest(self) -> NewestVersions:
        """Newest versions that the release of this target loads."""
        return RELEASES[self.release]


@dataclass(frozen=True)
class Compatibility:
    """Result of checking one model file for one target.

    Attributes:
        loads: True if the target loads the file.
        reasons: reasons against the file; empty if the file fits.
        remarks: remarks on a file that fits.
    """

    target: str
    file: str
    loads: bool
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]


TARGETS = {
    target.name: target
    for target in (
        Target(
            "android", "com.microsoft.onnxruntime:onnxruntime-android", "1.20", 50,
            ("int8", "uint8", "fp32", "ort"), "arm-dotprod",
            "NNAPI is deprecated: use the default CPU provider or XNNPACK. Google Play requires libraries "
            "with 16 KB pages: recent releases of the package have them.",
        ),
        Target(
            "ios", "onnxruntime-objc (CocoaPods) or onnxruntime-swift-package-manager", "1.20", 50,
            ("fp32", "ort"), "arm-dotprod",
            "CoreML has no quantize operators, so INT8 would run on the CPU only. CoreML needs fixed shapes: "
            "`kdtool export --onnx --fixed-batch`.",
        ),
        Target(
            "flutter", "flutter_onnxruntime (pub.dev)", "1.20", 50,
            ("int8", "fp32"), "arm-dotprod",
            "Do not use the package named onnxruntime: it contains ONNX Runtime 1.15, without the 16 KB "
            "pages that Google Play requires.",
        ),
        Target(
            "react-native", "onnxruntime-react-native", "1.17", 50,
            ("int8", "fp32", "ort"), "arm-dotprod", "The package contains an older ONNX Runtime.",
        ),
        Target(
            "web", "onnxruntime-web", "1.17", 50,
            ("fp32", "int8"), "web",
            "INT8 is faster on some browsers and processors only: the page measures both files.",
        ),
        Target(
            "python", "onnxruntime", "1.20", 2000,
            ("int8", "uint8", "fp32", "ort"), "", "For Raspberry Pi and servers.",
        ),
    )
}  # fmt: skip


def named_targets(names: Iterable[str]) -> tuple[Target, ...]:
    """Targets with these names; all targets if `names` is empty.

    Raises:
        UsageError: no target has this name.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise UsageError(
            f"{argument('targets')} {unknown[0]}: unknown; allowed: {', '.join(TARGETS)}.",
            f"Leave {argument('targets')} out to check all of them.",
        )
    return tuple(TARGETS[name] for name in names or TARGETS)


def check_compatibility(
    targets: Iterable[Target], models: Sequence[ShippedModel]
) -> tuple[Compatibility, ...]:
    """Check each model file for each target."""
    return tuple(_compatibility(target, model) for target in targets for model in models)


def best_file(target: Target, models: Sequence[ShippedModel], findings: Sequence[Compatibility]) -> str:
    """Name of the best file for a target: the first of its kinds that it loads; "" if it loads none.

    Float32 comes first if INT8 was not worth it on the machine that made it and the target may be such one.
    """
    loads = {finding.file for finding in findings if finding.target == target.name and finding.loads}
    kinds = list(target.kinds)
    if not target.processor and any(model.faster is False for model in models):
        kinds.sort(key=lambda kind: kind != "fp32")
    fitting = [m for kind in kinds for m in models if m.kind == kind and m.file in loads]
    return fitting[0].file if fitting else ""


def notes_on(target: Target, file: str, findings: Sequence[Compatibility]) -> Iterator[str]:
    """Yield the reasons against the best file, or against all files if there is none, and all remarks."""
    for finding in findings:
        if finding.target == target.name:
            sentences = (*(finding.reasons if file in ("", finding.file) else ()), *finding.remarks)
            if sentences:
                yield f"{finding.file}: {', '.join(sentences)}."


def require_fit(findings: Sequence[Compatibility], names: Iterable[str]) -> None:
    """Raise GateError if no file fits a target in `names`."""
    for name in names:
        of_target = [finding for finding in findings if finding.target == name]
        if all(finding.reasons for finding in of_target):
            listed = [f"  {finding.file}: {', '.join(finding.reasons)}" for finding in of_target]
            raise GateError(
                "\n".join([f"No model file fits the target {name}.", *listed]),
                "If a file is too new: kdtool export --onnx --compat. If it is too large: kdtool quantize, "
                "or train a smaller network.",
            )


def warn_of_misfits(findings: Sequence[Mapping[str, Any]], screen: Screen) -> None:
    """Warn of each target without a fitting file; `findings` are in the form of JSON."""
    for name in dict.fromkeys(finding["target"] for finding in findings):
        of_target = [finding for finding in findings if finding["target"] == name]
        if all(finding["reasons"] for finding in of_target):
            reasons = "; ".join(
                f"{finding['file']}: {', '.join(finding['reasons'])}" for finding in of_target
            )
            screen.warn(f"No model file fits the target {name} ({reasons}).")


def _compatibility(target: Target, model: ShippedModel) -> Compatibility:
    versions = (
        ("IR", model.ir, target.newest.ir),
        ("opset", model.opset, target.newest.opset),
        (".ort format", model.ort, target.newest.ort),
    )
    reasons = [
        f"{name} {version}, the target loads up to {newest}"
        for name, version, newest in versions
        if version > newest
    ]
    loads = not reasons
    if model.bytes > target.megabytes * MEGABYTE:
        reasons.append(f"{megabytes(model.bytes)}, more than {target.megabytes} MB")
    if model.kind not in target.kinds:
        reasons.append(f"{model.kind} is not for this target")
    remarks = _remarks(target, model) if loads and model.kind in target.kinds else ()
    return Compatibility(target.name, model.file, loads, tuple(reasons), tuple(remarks))


def _remarks(target: Target, model: ShippedModel) -> Iterator[str]:
    """Yield remarks on an INT8 file: its processor, and its speed if the target may be the same machine."""
    if model.made_for and not target.processor:
        yield f"made for {model.made_for}; for another processor use `kdtool quantize`"
    elif model.made_for and model.made_for != target.processor:
        yield f"made for {model.made_for}; for this target use `kdtool quantize --target {target.processor}`"
    if model.faster is False and not target.processor:
        yield "not measurably faster than float32 on the machine that made it"
