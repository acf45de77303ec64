"""Compute and parameters of each layer, as a table for a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kdtool.exporters.compute.count import Count


def layer_lines(name: str, count: Count) -> list[str]:
    """Return the table of one model; it names the unit, because the field often writes GFLOPs for GMACs."""
    wide = max([len(layer.name) for layer in count.layers] + [5])
    lines = [f"{name}: {_sum(count)}, one image"]
    lines.append(f"  {'layer':{wide}}  {'operator':13}  {'MACs':>15}  {'share':>6}  {'params':>12}  output")
    for layer in count.layers:
        share = layer.macs / count.macs if count.macs else 0.0
        note = "  (two activations)" if layer.dynamic else ""
        shape = " × ".join(str(side) for side in layer.output)
        lines.append(
            f"  {layer.name:{wide}}  {layer.op:13}  {layer.macs:>15,}  {share:>6.1%}  {layer.params:>12,}  "
            f"{shape}{note}"
        )
    if count.other_params > 0:
        lines.append(f"  {'(others)':{wide}}  {'':13}  {'':>15}  {'':>6}  {count.other_params:>12,}")
    if count.uncounted:
        lines.append(f"  not counted: {', '.join(count.uncounted)}")
    return lines


def layer_json(name: str, count: Count) -> dict[str, Any]:
    """Return the table as plain values; `macs` and `flops` are None if only `macs_at_least` is known."""
    exact = count.exact_macs
    return {
        "name": name,
        "macs": exact,
        "flops": None if exact is None else 2 * exact,
        "macs_at_least": count.macs,
        "params": count.params,
        "other_params": count.other_params,
        "uncounted": list(count.uncounted),
        "layers": [asdict(layer) | {"output": list(layer.output)} for layer in count.layers],
    }


def _sum(count: Count) -> str:
    """Return the sums in words; with "at least" if an operator is uncounted, which may have both."""
    if not count.uncounted:
        return f"{count.macs:,} MACs ({count.flops:,} FLOPs), {count.params:,} parameters"
    least = f"at least {count.macs:,} MACs ({count.flops:,} FLOPs)" if count.macs else "MACs unknown"
    return f"{least}, at least {count.params:,} parameters"
