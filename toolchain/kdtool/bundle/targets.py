"""What each kind of app loads. A new target is one line of `TARGETS`.

Operator sets and IR versions follow ONNX Runtime's table of compatibility: a release loads every file up
to its own versions. Where a platform's package lags behind ONNX Runtime, the limit is that of the release
its package holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import Screen

MEGABYTE = 1e6


@dataclass(frozen=True)
class Target:
    """One kind of app.

    Attributes:
        package: what the app depends on; `release`: of ONNX Runtime inside it, at least.
        ir, opset: the newest that this release loads.
        megabytes: above which a single model file is a nuisance to download or to ship.
        kinds: what it can run well, best first; `int8` is left out where the platform runs it worse.
    """

    name: str
    package: str
    release: str
    ir: int
    opset: int
    megabytes: int
    kinds: tuple[str, ...]
    note: str


class Candidate(Protocol):
    """A model file to choose from; `bytes` is its size."""

    @property
    def file(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def ir(self) -> int: ...

    @property
    def opset(self) -> int: ...

    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True)
class Finding:
    """Whether a target loads a file; `reasons` are empty where it does and nothing is to be said."""

    target: str
    file: str
    loads: bool
    reasons: tuple[str, ...]


TARGETS = {
    target.name: target
    for target in (
        Target(
            "android", "com.microsoft.onnxruntime:onnxruntime-android", "1.20", 10, 21, 50,
            ("int8", "uint8", "fp32", "ort"), "NNAPI is deprecated: use the default CPU provider or XNNPACK.",
        ),
        Target(
            "ios", "onnxruntime-objc (CocoaPods) or onnxruntime-swift-package-manager", "1.20", 10, 21, 50,
            ("fp32", "ort"), "CoreML has no quantize operators: INT8 would run on the CPU alone.",
        ),
        Target(
            "flutter", "onnxruntime (pub.dev)", "1.15", 9, 19, 50,
            ("int8", "fp32"), "The package lags behind ONNX Runtime.",
        ),
        Target(
            "react-native", "onnxruntime-react-native", "1.17", 9, 20, 50,
            ("int8", "fp32", "ort"), "The package lags behind ONNX Runtime.",
        ),
        Target(
            "web", "onnxruntime-web", "1.17", 9, 20, 50,
            ("fp32",), "Under WebAssembly the quantized model is usually slower: measure it on the page.",
        ),
        Target(
            "python", "onnxruntime", "1.20", 10, 21, 2000,
            ("int8", "uint8", "fp32", "ort"), "Raspberry Pi and servers.",
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


def examine(targets: Iterable[Target], models: Sequence[Candidate]) -> tuple[Finding, ...]:
    """Whether each target loads each file. An .ort file states no versions (0)."""
    return tuple(_examined(target, model) for target in targets for model in models)


def take(target: Target, models: Sequence[Candidate], findings: Sequence[Finding]) -> str:
    """The file to take: the first of the target's kinds that it loads; "" where it loads none."""
    loads = {finding.file for finding in findings if finding.target == target.name and finding.loads}
    fitting = [m for kind in target.kinds for m in models if m.kind == kind and m.file in loads]
    return fitting[0].file if fitting else ""


def doubts(target: Target, file: str, findings: Sequence[Finding]) -> Iterator[str]:
    """What is to be said against the file to take, or against all where there is none."""
    for finding in findings:
        if finding.target == target.name and finding.reasons and (finding.file == file or not file):
            yield f"{finding.file}: {', '.join(finding.reasons)}."


def require_fit(findings: Sequence[Finding], names: Iterable[str]) -> None:
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


def _examined(target: Target, model: Candidate) -> Finding:
    reasons = []
    if model.ir > target.ir:
        reasons.append(f"IR {model.ir}, loads up to {target.ir}")
    if model.opset > target.opset:
        reasons.append(f"opset {model.opset}, loads up to {target.opset}")
    loads = not reasons
    if model.bytes > target.megabytes * MEGABYTE:
        reasons.append(f"{model.bytes / MEGABYTE:.1f} MB, more than {target.megabytes}")
    if model.kind not in target.kinds:
        reasons.append(f"{model.kind} is not for this target")
    return Finding(target.name, model.file, loads, tuple(reasons))
