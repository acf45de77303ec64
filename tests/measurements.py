"""Results of a bench as tests make them up."""

from __future__ import annotations

from kdtool.results.bench import Latency, ModelResult
from kdtool.results.claim import Judged, Verdict


def model(
    name: str, p50: float = 10.0, p90: float = 11.0, interval: tuple[float, float] | None = (0.89, 0.91)
) -> ModelResult:
    role, _, precision = name.partition("-")
    latency = Latency(p50, p90, (p50,) * 64, (), 2)
    accuracy = None if interval is None else 0.9
    return ModelResult(
        name, role, precision or "fp32", accuracy, interval, 900, 1.0, (0.98, 1.02),
        11_690_000, 1_814_100_000, 46_800_000, latency, f"{name}.onnx", "0" * 64,
    )  # fmt: skip


def verdict(name: str = "PASS", **changes: object) -> Verdict:
    values = {
        "verdict": name, "retention": 0.97, "retention_ci": (0.95, 0.99), "compute_ratio": 0.4951,
        "params_ratio": 0.536,
        "bounds": (Judged("retention", True, 0.94, name, 0.97, (0.95, 0.99), None, "test images"),),
    }  # fmt: skip
    return Verdict(**(values | changes))
