"""Notes in bench.json that a reader of the figures needs: small test splits, noisy times, INT8 models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kdtool.benchmark.candidates import FREE_SIDE, Candidate
from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.machine.host import Host
from kdtool.results.bench import ModelResult
from kdtool.results.statistics.sessions import speedup_of_sessions
from kdtool.results.wording import finetuned_in_words
from kdtool.runtime.session import input_size

WIDE = 0.02  # half the width of an interval of accuracy


def accuracy_notes(models: Sequence[ModelResult]) -> list[str]:
    """Write notes on models that are of no use, and on the number of test images."""
    measured = [model for model in models if model.accuracy_ci is not None]
    if not measured:
        return ["There were no test images, so accuracy was not measured."]
    widest = max(
        (high - low) / 2 for model in measured if model.accuracy_ci for low, high in [model.accuracy_ci]
    )
    faults = [f"{model.name} is of no use: {model.fault}." for model in models if model.fault]
    if widest <= WIDE:
        return faults
    return [
        *faults,
        f"The test split is small ({measured[0].n_images:,} images): the accuracies are known to "
        f"± {100 * widest:.1f} percentage points.",
    ]


def latency_notes(models: Sequence[ModelResult], host: Host) -> list[str]:
    """Write notes on the threads and on whether INT8 is worth it, on the measured machine alone."""
    notes = []
    threads = max((model.latency_ms.threads for model in models), default=0)
    if threads > host.usable:
        notes.append(f"{threads} threads shared the {host.usable} processors that this process may use.")
    for model in models:
        twin = _fp32_model(model, models)
        if model.precision == "int8" and twin is not None:
            notes += _worth_it(model, twin, host)
    return notes


def _fp32_model(model: ModelResult, models: Sequence[ModelResult]) -> ModelResult | None:
    """Find the FP32 model of the same role in the same runtime."""
    key = (model.role, model.runtime)
    same = [other for other in models if other.precision == "fp32" and (other.role, other.runtime) == key]
    return same[-1] if same and model.role else None


def _worth_it(model: ModelResult, twin: ModelResult, host: Host) -> list[str]:
    """Write a note if the INT8 `model` is not clearly faster than `twin`, the FP32 model of its role."""
    latency, twin_latency = model.latency_ms, twin.latency_ms
    ratio = speedup_of_sessions(latency.by_session, twin_latency.by_session)
    low, high = ratio.interval or (0.0, math.inf)
    between = f"95 % interval {low:.2f} to {high:.2f}, " if ratio.interval else "in one session, "
    measured = (
        f"On {host}, {model.name} is {ratio.value:.2f} × as fast as {twin.name} "
        f"({between}{latency.p50:.2f} against {twin_latency.p50:.2f} ms, "
        f"{latency.threads} thread{'' if latency.threads == 1 else 's'})"
    )
    if model.target not in (None, host.int8_target):
        return [
            f"{measured}. The file was made for {model.target}: this ratio says nothing about its speed on "
            f"{model.target}, and nothing about the speed of a file made for {host.int8_target}."
        ]
    if low >= INT8_WORTH_IT:
        return []
    return [
        f"{measured}. This is not clearly {INT8_WORTH_IT:g} × or more: prefer the FP32 model on this machine "
        "unless the file size matters."
    ]


def stability_notes(void: Sequence[str], unstable: Sequence[str]) -> list[str]:
    """Write notes on why latencies are void, and on why they may be unstable."""
    notes = []
    if void:
        notes.append(
            f"Latencies are void ({', '.join(void)}): they mean nothing. Measure again on a real machine "
            "that is cool and has the power supply made for it."
        )
    if unstable:
        notes.append(f"The result may be unstable: {'; '.join(unstable)}.")
    return notes


def start_notes(failures: Mapping[str, str]) -> list[str]:
    """Write notes on models that failed to start in a separate process.

    Args:
        failures: model → reason; "" if every start succeeded.
    """
    return [
        f"{name}: cold start and memory are not known from every start ({why})."
        for name, why in failures.items()
        if why
    ]


def target_notes(models: Sequence[ModelResult], host: Host) -> list[str]:
    """Write notes on INT8 files that were made for another kind of processor than the measured one."""
    measured_on = host.int8_target
    return [
        f"{model.name} was quantized for {model.target}, but this machine is {measured_on}: its accuracy and "
        f"its speed hold on {measured_on} alone. Measure it on {model.target}, or, on the machine that made "
        f"it, make a file for this machine: kdtool quantize --target {measured_on}"
        for model in models
        if model.target not in (None, measured_on)
    ]


def finetuned_notes(models: Sequence[ModelResult]) -> list[str]:
    """Write notes on INT8 models whose weights differ from those of the FP32 model."""
    notes = []
    for model in models:
        if model.finetuned:
            twin = _fp32_model(model, models)
            notes.append(
                finetuned_in_words(model.name, twin.name if twin else "the FP32 model", model.finetuned)
            )
    return notes


def input_notes(candidates: Sequence[Candidate], *, batches: bool) -> list[str]:
    """Write notes on inputs with a free side and, if `batches` were measured, with a fixed batch."""
    free = [
        f"The input side of {candidate.name} is free; its latency was measured at {FREE_SIDE} × {FREE_SIDE}."
        for candidate in candidates
        if candidate.images is None
        and not input_size(candidate.session)
        and None in candidate.session.input_shape[2:]
    ]
    fixed = [
        f"The batch of {candidate.name} is fixed at 1: its throughput was measured one image after the other."
        for candidate in candidates
        if batches and candidate.session.input_shape[0] == 1
    ]
    return free + fixed
