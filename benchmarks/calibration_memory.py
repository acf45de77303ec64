"""Measure the peak memory of calibration by number of images: a process for each, ResNet18 at 224 pixels.

python benchmarks/calibration_memory.py [--images 64,2048] [--size 224]

For Linux only (/proc). Weights and pixels are random, since memory does not depend on their values. Growth is
the difference between the peaks of resident memory with the most and with the fewest images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads

SIZE, LIMIT_MB = 224, 50.0


def prepare(folder: Path, images: int, size: int) -> None:
    """Write a random ResNet18 as ONNX, and random pixels, to files in `folder`."""
    import torch

    from kdtool.arch.network import build
    from kdtool.exporters.onnx import export_network
    from kdtool.graph.onnxfile import onnx_bytes

    torch.manual_seed(0)
    network = build("resnet18", 10, size).eval()
    (folder / "model.onnx").write_bytes(onnx_bytes(export_network(network, "resnet18", size, 18)))
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (images, size, size, 3))
    generator = np.random.default_rng(0)
    for index in range(images):
        pixels[index] = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
    pixels.flush()


def calibrate(folder: Path, count: int) -> dict[str, float]:
    """Calibrate on `count` images with histograms; return the peak memory, MB, and the seconds."""
    from kdtool.calibration.ranges import METHODS
    from kdtool.core.preprocess import Preprocess
    from kdtool.core.screen import QUIET
    from kdtool.quant.images import CalibrationImages
    from kdtool.quant.observe import observe, ranges_of

    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    preprocess = Preprocess(pixels.shape[1], pixels.shape[1])
    started = time.perf_counter()
    with QUIET.bar("", 0) as bar:
        images = CalibrationImages(pixels, np.arange(count), preprocess)
        seen = observe(folder / "model.onnx", images, True, bar)
    for method in METHODS:
        ranges_of(seen, method)
    seconds = time.perf_counter() - started
    return {"images": count, "peak_mb": round(peak_megabytes(), 1), "seconds": round(seconds, 1)}


def peak_megabytes() -> float:
    """Peak memory of this process since its start, MB; `getrusage` would include the memory of its parent."""
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", default="64,2048", help="numbers of images, separated by commas")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(calibrate(Path(options.child[0]), int(options.child[1]))))
        return
    counts = sorted(int(count) for count in options.images.split(","))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), counts[-1], options.size)
        rows = [
            json.loads(
                subprocess.run(
                    [sys.executable, __file__, "--child", folder, str(count)],
                    check=True,
                    capture_output=True,
                ).stdout
            )
            for count in counts
        ]
    growth = rows[-1]["peak_mb"] - rows[0]["peak_mb"]
    result = {
        "network": "resnet18",
        "size": options.size,
        "calibrations": rows,
        "growth_mb": round(growth, 1),
        "limit_mb": LIMIT_MB,
        "processor": processor_name(),
        "threads": usable_threads(),
        "versions": versions_of(("numpy", "onnxruntime")),
    }
    print(json.dumps(result, indent=2))
    if growth > LIMIT_MB:
        sys.exit(6)


if __name__ == "__main__":
    main()
