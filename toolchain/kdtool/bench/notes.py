"""What a reader of the figures must know: small test splits, noisy clocks, INT8 that does not pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtool.core.benchresult import ModelResult
from kdtool.core.cpu import INT8_WORTH_IT, int8_target
from kdtool.core.statistics import median_ratio_interval

WIDE = 0.02  # half an interval of accuracy


def accuracy_notes(models: Sequence[ModelResult]) -> list[str]:
    """About the test images."""
    measured = [model for model in models if model.accuracy_ci is not None]
    if not measured:
        return ["There were no test images: nothing is said of accuracy."]
    widest = max(
        (high - low) / 2 for model in measured if model.accuracy_ci for low, high in [model.accuracy_ci]
    )
    if widest <= WIDE:
        return []
    return [
        f"The test split is small ({measured[0].n_images:,} images): an accuracy is known to "
        f"± {100 * widest:.1f} points."
    ]


def latency_notes(models: Sequence[ModelResult], usable: int) -> list[str]:
    """About the threads, and whether INT8 is worth it here."""
    notes = []
    threads = max((model.latency_ms.threads for model in models), default=0)
    if threads > usable:
        notes.append(f"{threads} threads shared the {usable} processors this process may use.")
    floats = {
        (model.role, model.runtime): model for model in models if model.precision == "fp32" and model.role
    }
    for model in models:
        twin = floats.get((model.role or "", model.runtime))
        if model.precision != "int8" or twin is None:
            continue
        low, _ = median_ratio_interval(twin.latency_ms.samples, model.latency_ms.samples)
        if low < INT8_WORTH_IT:
            notes.append(
                f"{model.name} is not at least {INT8_WORTH_IT:g} × as fast as {twin.name} on this machine "
                f"with confidence ({model.latency_ms.p50:.2f} against {twin.latency_ms.p50:.2f} ms): "
                "prefer the float model here, unless its size matters."
            )
    return notes


def stability_notes(void: Sequence[str], unstable: Sequence[str]) -> list[str]:
    """Whether latencies count at all, and why they may be unstable."""
    notes = []
    if void:
        notes.append(
            f"Latencies are void ({', '.join(void)}): they mean nothing. Measure again on a machine that is "
            "real, cool, and fed by the power supply made for it."
        )
    if unstable:
        notes.append(f"The result may be unstable: {'; '.join(unstable)}.")
    return notes


def start_notes(failures: Mapping[str, str]) -> list[str]:
    """About models that did not start in a process of their own; `failures`: model → why, "" where it did."""
    return [
        f"{name}: cold start and memory are not those of every start ({why})."
        for name, why in failures.items()
        if why
    ]


def target_notes(targets: Mapping[str, str]) -> list[str]:
    """About INT8 files that were made for another kind of processor; `targets`: model → kind (see cpu.py)."""
    here = int8_target()
    return [
        f"{name} was quantized for {target}, this machine is {here}: its accuracy and speed may differ. "
        f"Make it for this one, where it was made: kdtool quantize --target {here}"
        for name, target in targets.items()
        if target != here
    ]
