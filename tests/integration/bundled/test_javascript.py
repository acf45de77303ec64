"""The page's modules and the README's JavaScript, in Node and in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from fixtures.browser import MODULES, WAIT, serving
from fixtures.bundles import best
from kdtool.bundle.page.runtime import VERSION
from kdtool.bundle.preprocessing import preprocess_json
from kdtool.bundle.proof.golden import read_golden
from kdtool.core.preprocess import INTERPOLATIONS, Preprocess, decode

ROOT = Path(__file__).parents[3]


def test_the_readmes_web_snippet_runs(browser: Browser, bundled: Path) -> None:
    (code,) = re.findall(r"## Web\n.*?```js\n(.*?)```", (bundled / "README.md").read_text(), re.DOTALL)
    module = code.replace('"onnxruntime-web"', '"./web/ort/ort.wasm.bundle.min.mjs"')
    context = browser.new_context()
    handler = partial(SimpleHTTPRequestHandler, directory=str(bundled))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        context.route(
            "**/snippet.js", lambda route: route.fulfill(body=module, content_type="text/javascript")
        )
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(f"{url}labels.txt")
        found = page.evaluate(
            """async () => {
                const { classify } = await import("/snippet.js");
                const photo = await (await fetch("/golden/drawn-turned.jpg")).blob();
                const { logits, classes } = await classify(photo);
                return { logits: Array.from(logits), classes };
            }"""
        )
    (vector,) = [vector for vector in read_golden(bundled).vectors if vector.image == "drawn-turned.jpg"]
    assert found["logits"] == pytest.approx(vector.logits["model.onnx"], abs=1e-3)
    assert found["classes"][0]["label"] == best(bundled, "drawn-turned.jpg")
    context.close()


def node(*arguments: object) -> str:
    done = subprocess.run(
        ["node", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_resize_is_pillows_to_the_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    jobs = []
    shapes = [(40, 30), (30, 40), (50, 330), (333, 41), (7, 9), (64, 64), (31, 200), (20, 61)]
    for number, (width, height) in enumerate(shapes * len(INTERPOLATIONS)):
        interpolation = list(INTERPOLATIONS)[number // len(shapes)]
        size = int(random.integers(5, 60))
        preprocess = Preprocess(size + number % 4, size, interpolation)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (tmp_path / f"{number}.in").write_bytes(pixels.tobytes())
        (tmp_path / f"{number}.out").write_bytes(preprocess.pixels(Image.fromarray(pixels)).tobytes())
        jobs.append([width, height, preprocess_json(preprocess)])
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    source = (ROOT / "toolchain" / "kdtool" / "bundle" / "web" / "preprocess.js").as_uri()
    (tmp_path / "compare.mjs").write_text(
        f"""
import {{ readFileSync }} from "node:fs";
import {{ toPixels }} from "{source}";
const folder = new URL(".", import.meta.url);
const read = (name) => readFileSync(new URL(name, folder));
const wrong = [];
for (const [number, [width, height, rule]] of JSON.parse(read("jobs.json")).entries()) {{
  const found = toPixels(read(`${{number}}.in`), 3, width, height, rule);
  if (!read(`${{number}}.out`).equals(Buffer.from(found))) wrong.push([width, height, rule.resize]);
}}
console.log(JSON.stringify(wrong));
"""
    )
    assert json.loads(node(tmp_path / "compare.mjs")) == []


def test_the_readmes_react_native_snippet_runs(bundled: Path, tmp_path: Path) -> None:
    """With onnxruntime-web in the place of the native runtime, and Pillow in that of jpeg-js."""
    (code,) = re.findall(
        r"## React Native\n.*?```js\n(.*?)```", (bundled / "README.md").read_text(), re.DOTALL
    )
    code = code.replace('"./preprocess.json"', '"./preprocess.json" with { type: "json" }')
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "snippet.js").write_text(code)
    with zipfile.ZipFile(bundled.parent / "bundle.zip") as archive:  # what a developer receives is enough
        archive.extractall(tmp_path / "zip")
    received = tmp_path / "zip" / "run-bundle"
    shutil.copytree(received / "js", tmp_path / "js")
    shutil.copy(received / "preprocess.json", tmp_path)
    image = decode((bundled / "golden" / "photo-1.png").read_bytes(), "photo-1.png").convert("RGBA")
    (tmp_path / "photo.rgba").write_bytes(image.tobytes())
    runtime = (MODULES / "onnxruntime-web" / "dist" / "ort.node.min.mjs").as_uri()
    size = f"width: {image.width}, height: {image.height}"
    for name, text in {
        "onnxruntime-react-native": f'export * from "{runtime}";',
        "jpeg-js": f"export const decode = (data) => ({{ data, {size} }});",
    }.items():
        (tmp_path / "node_modules" / name).mkdir(parents=True)
        (tmp_path / "node_modules" / name / "index.js").write_text(text)
        package = {"type": "module", "exports": "./index.js"}
        (tmp_path / "node_modules" / name / "package.json").write_text(json.dumps(package))
    model, labels = ((bundled / name).as_posix() for name in ("model.int8.onnx", "labels.txt"))
    photo = (tmp_path / "photo.rgba").as_posix()
    (tmp_path / "main.js").write_text(
        f"""
import {{ readFileSync }} from "node:fs";
import {{ classify }} from "./snippet.js";
const labels = readFileSync("{labels}", "utf8").trimEnd().split("\\n");
console.log((await classify("{model}", labels, readFileSync("{photo}")))[0].label);
"""
    )
    assert node(tmp_path / "main.js").strip() == best(bundled, "photo-1.png", "model.int8.onnx")


def test_npm_and_the_page_name_the_same_version() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    assert package["dependencies"]["onnxruntime-web"] == VERSION
    installed = json.loads((MODULES / "onnxruntime-web" / "package.json").read_text())
    assert installed["version"] == VERSION
