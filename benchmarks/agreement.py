"""Compare the logits of a bundle's golden images in Python, in Node and in Chromium.

    make setup-test
    kdtool bundle RUN
    python benchmarks/agreement.py RUN/bundle --out benchmarks/results/agreement.json

`logit` is the largest difference from the logits that the bundle contains, computed on the pixels that it
contains, so that preprocessing has no influence. `pixels` is the largest difference (of 255) between these
pixels and the platform's own preprocessing. Chromium runs the page's own worker. `share` is the difference as
a share of the largest logit of its image; `kdtool verify` and the page compare it with their limits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from kdtool.bundle.page.serve import open_server
from kdtool.bundle.proof.golden import FOLDER, Golden, read_golden, read_npy
from kdtool.bundle.session import open_shipped
from kdtool.core.files import write_json
from kdtool.core.preprocess import decode
from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxbytes.declared import onnx_info

NODE_RUNTIME = Path(sys.prefix) / "node_modules" / "onnxruntime-web" / "dist" / "ort.node.min.mjs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 120_000  # ms
# Calls the page's own worker for the exact logits, since the page shows rounded numbers.
IN_THE_PAGE = """async () => {
  const bundle = await (await fetch("bundle.json")).json();
  const engine = new Worker("engine.js", { type: "module" });
  const ask = (content) => new Promise((resolve, reject) => {
    engine.onmessage = ({ data }) =>
      (data.error === undefined ? resolve(data.value) : reject(new Error(data.error)));
    engine.onerror = (event) => reject(new Error(event.message));
    engine.postMessage({ id: 1, ...content });
  });
  await ask({ action: "start", bundle });
  const answers = {};
  for (const { image, pixels: stored } of bundle.golden.vectors) {
    const blob = await (await fetch(`golden/${image}`)).blob();
    const { pixels } = await ask({ action: "classify", blob, files: [] });
    const npy = new Uint8Array(await (await fetch(`golden/${stored}`)).arrayBuffer());
    const expected = npy.slice(npy.length - pixels.length);
    const off = pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    answers[image] = { pixels: off, logits: {} };
    for (const model of bundle.models) {
      const { results } = await ask({ action: "replay", pixels: expected, files: [model.web] });
      answers[image].logits[model.file] = results[0].logits;
    }
  }
  engine.terminate();
  return { answers, runtime: bundle.runtime.version };
}"""


@dataclass(frozen=True)
class Platform:
    """Results of one platform: for each image the difference of its pixels and the logits of each model."""

    answers: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]


def in_python(bundle: Path, golden: Golden) -> Platform:
    """Run every model file of the bundle in ONNX Runtime, in this process."""
    info = onnx_info(bundle / next(iter(golden.logit_tolerance)))
    assert info is not None
    answers: dict[str, dict[str, Any]] = {}
    for file in golden.logit_tolerance:
        session = open_shipped(bundle / file)
        for vector in golden.vectors:
            stored = read_npy(bundle / FOLDER / vector.pixels)
            path = bundle / FOLDER / vector.image
            off = np.abs(info.preprocess.read(path.read_bytes(), path.name).astype(int) - stored).max()
            entry = answers.setdefault(vector.image, {"pixels": int(off), "logits": {}})
            entry["logits"][file] = logits_of(session, stored[None], info.preprocess)[0].tolist()
    return Platform(answers, versions_of(("onnxruntime", "pillow", "numpy")))


def in_node(bundle: Path, golden: Golden) -> Platform:
    """Run onnxruntime-web in Node; Pillow decodes the images, since Node has no decoder."""
    script = Path(__file__).with_suffix(".mjs")
    with tempfile.TemporaryDirectory() as raw:
        sizes = {}
        for vector in golden.vectors:
            image = decode((bundle / FOLDER / vector.image).read_bytes(), vector.image)
            sizes[vector.image] = image.size
            (Path(raw) / f"{vector.image}.rgba").write_bytes(image.convert("RGBA").tobytes())
        (Path(raw) / "sizes.json").write_text(json.dumps(sizes))
        printed = json.loads(_output("node", script, bundle, raw, NODE_RUNTIME))
    versions = {"onnxruntime-web": printed["runtime"], "node": _output("node", "--version").strip()}
    return Platform(printed["answers"], versions)


def in_chromium(bundle: Path) -> Platform:
    """Open the page of the bundle, served as `kdtool serve` does."""
    with open_server(bundle, "127.0.0.1", 0) as server, sync_playwright() as playwright:
        threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True).start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT)
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"http://localhost:{server.server_address[1]}/")
        page.wait_for_selector("body[data-ready]")
        returned = page.evaluate(IN_THE_PAGE)
        versions = {"onnxruntime-web": returned["runtime"], "chromium": browser.version}
        browser.close()
        server.shutdown()
    return Platform(returned["answers"], versions)


def compare(golden: Golden, platform: Platform) -> dict[str, Any]:
    """Compute the largest differences over all images, and count the images with the expected top-1 class."""
    models: dict[str, dict[str, Any]] = {}
    for vector in golden.vectors:
        for file, logits in platform.answers[vector.image]["logits"].items():
            expected, computed = np.asarray(vector.logits[file]), np.asarray(logits)
            difference = float(np.abs(computed - expected).max())
            share = difference / max(1.0, float(np.abs(expected).max()))
            entry = models.setdefault(file, {"logit": 0.0, "share": 0.0, "top1_same": 0})
            entry["logit"] = max(entry["logit"], difference)
            entry["share"] = max(entry["share"], share)
            entry["top1_same"] += int(computed.argmax() == expected.argmax())
    pixels = max(int(platform.answers[vector.image]["pixels"]) for vector in golden.vectors)
    return {"pixels": pixels, "models": models, "versions": dict(platform.versions)}


def _output(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the logits of a bundle in Python, Node and Chromium."
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, help="file to write the result to; it is also printed")
    chosen = parser.parse_args()
    golden = read_golden(chosen.bundle)
    about = json.loads((chosen.bundle / "bundle.json").read_text("utf-8"))
    platforms = {
        "python": in_python(chosen.bundle, golden),
        "node": in_node(chosen.bundle, golden),
        "chromium": in_chromium(chosen.bundle),
    }
    result = {
        "network": about["arch"],
        "size": about["preprocess"]["size"],
        "images": len(golden.vectors),
        "largest_logit": max(abs(x) for v in golden.vectors for row in v.logits.values() for x in row),
        "limits": dict(golden.logit_tolerance),
        "processor": processor_name(),
        **{name: compare(golden, found) for name, found in platforms.items()},
    }
    if chosen.out:
        write_json(chosen.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
