"""What each kind of app loads. A new target is one line of `TARGETS`, a new release one of `RELEASES`.

A release of ONNX Runtime loads every file up to its own versions. Where a platform's package lags behind,
the limit is that of the release its package holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdtool.bundle.shipped import ShippedModel
from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import Screen

MEGABYTE = 1e6


@dataclass(frozen=True)
class Loads:
    """The newest versions that a release loads: of IR, of the standard operators, of the .ort format."""

    ir: int
    opset: int
    ort: int


# As these releases were seen to refuse and as their table of compatibility says; sources in decision 0035.
RELEASES = {
    "1.17": Loads(9, 20, 6),
    "1.20": Loads(10, 21, 6),
}


@dataclass(frozen=True)
class Target:
    """One kind of app.

    Attributes:
        package: what the app depends on; `release`: of ONNX Runtime inside it, at least.
        megabytes: above which a single model file is a nuisance to download or to ship.
        kinds: what it can run well, best first; `int8` is left out where the platform runs it worse.
        processor: what `kdtool quantize --target` calls its processor; "" where it may be any.
    """

    name: str
    package: str
    release: str
    megabytes: int
    kinds: tuple[str, ...]
    processor: str
    note: str

    @property
    def loads(self) -> Loads:
        """What its release loads."""
        return RELEASES[self.release]


@dataclass(frozen=True)
class Compatibility:
    """Whether a target loads a file.

    Attributes:
        reasons: what speaks against the file; empty where it fits.
        remarks: what is to be known of one that fits.
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
            "NNAPI is deprecated: use the default CPU provider or XNNPACK. Google Play wants libraries with "
            "16 KB pages: a recent release has them.",
        ),
        Target(
            "ios", "onnxruntime-objc (CocoaPods) or onnxruntime-swift-package-manager", "1.20", 50,
            ("fp32", "ort"), "arm-dotprod",
            "CoreML has no quantize operators: INT8 would run on the CPU alone. It wants fixed shapes: "
            "`kdtool export --onnx --fixed-batch`.",
        ),
        Target(
            "flutter", "flutter_onnxruntime (pub.dev)", "1.20", 50,
            ("int8", "fp32"), "arm-dotprod",
            "Not the package onnxruntime: its ONNX Runtime is 1.15, and Google Play wants 16 KB pages.",
        ),
        Target(
            "react-native", "onnxruntime-react-native", "1.17", 50,
            ("int8", "fp32", "ort"), "arm-dotprod", "The package lags behind ONNX Runtime.",
        ),
        Target(
            "web", "onnxruntime-web", "1.17", 50,
            ("fp32", "int8"), "web",
            "Whether INT8 is faster depends on runtime and processor: the page measures both.",
        ),
        Target(
            "python", "onnxruntime", "1.20", 2000,
            ("int8", "uint8", "fp32", "ort"), "", "Raspberry Pi and servers.",
        ),
    )
}  # fmt: skip


def chosen(names: Iterable[str]) -> tuple[Target, ...]:
    """The targets called so; all of them where no name is given.

    Raises:
        UsageError: there is no such target.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise UsageError(
            f"--target {unknown[0]}: unknown; allowed: {', '.join(TARGETS)}.",
            "Leave --target out to check all of them.",
        )
    return tuple(TARGETS[name] for name in names or TARGETS)


def check_compatibility(
    targets: Iterable[Target], models: Sequence[ShippedModel]
) -> tuple[Compatibility, ...]:
    """Whether each target loads each file."""
    return tuple(_compatibility(target, model) for target in targets for model in models)


def take(target: Target, models: Sequence[ShippedModel], findings: Sequence[Compatibility]) -> str:
    """The file to take: the first of the target's kinds that it loads; "" where it loads none.

    Float32 comes first where the target is a machine like the one that found INT8 not worth it.
    """
    loads = {finding.file for finding in findings if finding.target == target.name and finding.loads}
    kinds = list(target.kinds)
    if not target.processor and any(model.faster is False for model in models):
        kinds.sort(key=lambda kind: kind != "fp32")
    fitting = [m for kind in kinds for m in models if m.kind == kind and m.file in loads]
    return fitting[0].file if fitting else ""


def doubts(target: Target, file: str, findings: Sequence[Compatibility]) -> Iterator[str]:
    """What speaks against the file to take, or against all where there is none; and what is to be known."""
    for finding in findings:
        if finding.target == target.name:
            sentences = (*(finding.reasons if file in ("", finding.file) else ()), *finding.remarks)
            if sentences:
                yield f"{finding.file}: {', '.join(sentences)}."


def require_fit(findings: Sequence[Compatibility], names: Iterable[str]) -> None:
    """Raise GateError where no file fits a target asked for by name."""
    for name in names:
        mine = [finding for finding in findings if finding.target == name]
        if all(finding.reasons for finding in mine):
            listed = [f"  {finding.file}: {', '.join(finding.reasons)}" for finding in mine]
            raise GateError(
                "\n".join([f"No model file fits the target {name}.", *listed]),
                "Too new: kdtool export --onnx --compat. Too large: kdtool quantize, or a smaller network.",
            )


def warn_of_misfits(findings: Sequence[Mapping[str, Any]], screen: Screen) -> None:
    """Say which targets have no file that fits without a doubt; `findings` as JSON holds them."""
    for name in dict.fromkeys(finding["target"] for finding in findings):
        mine = [finding for finding in findings if finding["target"] == name]
        if all(finding["reasons"] for finding in mine):
            reasons = "; ".join(f"{finding['file']}: {', '.join(finding['reasons'])}" for finding in mine)
            screen.warn(f"No file fits {name} without a doubt ({reasons}).")


def _compatibility(target: Target, model: ShippedModel) -> Compatibility:
    versions = (
        ("IR", model.ir, target.loads.ir),
        ("opset", model.opset, target.loads.opset),
        (".ort format", model.ort, target.loads.ort),
    )
    reasons = [f"{name} {asked}, loads up to {limit}" for name, asked, limit in versions if asked > limit]
    loads = not reasons
    if model.bytes > target.megabytes * MEGABYTE:
        reasons.append(f"{model.bytes / MEGABYTE:.1f} MB, more than {target.megabytes}")
    if model.kind not in target.kinds:
        reasons.append(f"{model.kind} is not for this target")
    remarks = _remarks(target, model) if loads and model.kind in target.kinds else ()
    return Compatibility(target.name, model.file, loads, tuple(reasons), tuple(remarks))


def _remarks(target: Target, model: ShippedModel) -> Iterator[str]:
    """What is known of an INT8 file: its processor, and its speed where that may be the target's."""
    if model.made_for and not target.processor:
        yield f"made for {model.made_for}; on another processor make one with `kdtool quantize`"
    elif model.made_for and model.made_for != target.processor:
        yield f"made for {model.made_for}; make one with `kdtool quantize --target {target.processor}`"
    if model.faster is False and not target.processor:
        yield "not faster than float32 with confidence on the machine that made it"
