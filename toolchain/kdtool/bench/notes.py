"""What a reader of the figures must know: small test splits, noisy clocks, INT8 that does not pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdtool.core.benchresult import ModelResult
from kdtool.core.cpu import int8_target

NOISY = 1.25  # p90 / p50
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
    """About the clock, the threads, and whether INT8 is worth it here."""
    noisy = [model.name for model in models if model.latency_ms.p90 > NOISY * model.latency_ms.p50]
    notes = []
    if noisy:
        notes.append(f"Latency is noisy (p90 over {NOISY:g} × p50): {', '.join(noisy)}.")
    threads = max((model.latency_ms.threads for model in models), default=0)
    if threads > usable:
        notes.append(f"{threads} threads shared the {usable} processors this process may use.")
    floats = {model.role: model for model in models if model.precision == "fp32" and model.role}
    for model in models:
        twin = floats.get(model.role or "")
        if model.precision == "int8" and twin and model.latency_ms.p50 >= twin.latency_ms.p50:
            notes.append(
                f"{model.name} is not faster than {twin.name} on this machine "
                f"({model.latency_ms.p50:.2f} against {twin.latency_ms.p50:.2f} ms): "
                "prefer the float model here, unless its size matters."
            )
    return notes


def target_notes(targets: Mapping[str, str]) -> list[str]:
    """About INT8 files that were made for another kind of processor; `targets`: model → kind (see cpu.py)."""
    here = int8_target()
    return [
        f"{name} was quantized for {target}, this machine is {here}: its accuracy and speed may differ. "
        "Quantize on a machine like this one."
        for name, target in targets.items()
        if target != here
    ]
