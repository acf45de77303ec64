"""The page of a bundle in Chromium, and its modules in Node: the same answers as Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect, sync_playwright

from kdtool.bundle.golden import Golden, read_golden
from kdtool.bundle.options import Options
from kdtool.bundle.runtime import CDN, VERSION, WebRuntime
from kdtool.bundle.serve import open_server
from kdtool.bundle.stage import write_bundle
from kdtool.core.errors import SetupError, UsageError
from kdtool.core.preprocess import INTERPOLATIONS, Preprocess, decode
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, never a proxy
ROOT = Path(__file__).parents[2]
MODULES = Path(sys.prefix) / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
WAIT = 60_000  # ms; a machine under load takes its time to compile 14 MB of WebAssembly
HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(2)', "right\u202eleft")
expect.set_options(timeout=WAIT)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def address(bundled: Path) -> Iterator[str]:
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT)
        yield browser
        browser.close()


def open_page(context: BrowserContext, url: str, troubles: list[str]) -> Page:
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.goto(url)
    return page


def ready(page: Page) -> Page:
    page.wait_for_selector("body[data-ready]")
    return page


@pytest.fixture(scope="module")
def troubles() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(browser: Browser, address: str, troubles: list[str]) -> Iterator[Page]:
    """The page, loaded once, with every model chosen."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["camera"])
    page = ready(open_page(context, address, troubles))
    for box in page.locator("#models input").all():
        box.check()
    expect(page.locator("#status")).to_contain_text("Ready: 8-bit input")
    yield page
    context.close()


def answers(page: Page) -> dict[str, str]:
    """Model → the class on top."""
    columns = page.locator("#columns .column").all()
    return {
        column.locator("h3").inner_text(): column.locator("li bdi").first.inner_text() for column in columns
    }


def labels_of(bundle: Path) -> list[str]:
    labels: list[str] = json.loads((bundle / "bundle.json").read_text())["labels"]
    return labels


def best(bundle: Path, image: str, model: str = "model.onnx") -> str:
    """Python's top-1."""
    (vector,) = [vector for vector in read_golden(bundle).vectors if vector.image == image]
    return labels_of(bundle)[int(np.argmax(vector.logits[model]))]


# --- the server --------------------------------------------------------------------------------


def test_the_server_says_what_a_page_may_do_and_what_files_are(address: str) -> None:
    with DIRECT.open(address) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "'unsafe-inline'" not in policy
    assert "http" not in policy
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["X-Content-Type-Options"] == "nosniff"
    for name, kind in {
        "ort/ort-wasm-simd-threaded.wasm": "application/wasm",
        "ort/ort.wasm.bundle.min.mjs": "text/javascript",
        "manifest.webmanifest": "application/manifest+json",
        "models/model.onnx": "application/octet-stream",
    }.items():
        with DIRECT.open(address + name) as answer:
            assert answer.headers["Content-Type"].split(";")[0] == kind


@pytest.mark.parametrize("path", ["../model.onnx", "%2e%2e/infer.py", "models/", "nothing.js"])
def test_the_server_gives_out_files_of_the_page_alone(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        DIRECT.open(address + path)
    assert refused.value.code == 404


def test_a_port_that_is_taken_and_a_folder_without_a_page_are_named(bundled: Path, tmp_path: Path) -> None:
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        with pytest.raises(SetupError, match=f"Cannot listen on 127.0.0.1:{port}"):
            open_server(bundled, "127.0.0.1", port)
    with pytest.raises(UsageError, match="has no page"):
        open_server(tmp_path, "127.0.0.1", 0)


# --- Chromium ----------------------------------------------------------------------------------


def test_chromium_computes_what_python_computed(page: Page, bundled: Path) -> None:
    page.click("#check")
    expect(page.locator("#status")).to_have_text("This browser computes what Python computed.")
    rows = page.locator("#checked tbody tr").all()
    assert len(rows) == 9
    for row in rows:
        pixels, *logits = row.locator("td").all_inner_texts()
        assert int(pixels.split()[0]) <= 1
        assert len(logits) == 3
        assert max(float(value) for value in logits) < 1e-4, row.inner_text()


def test_each_golden_image_gets_pythons_class_from_every_model(page: Page, bundled: Path) -> None:
    for index, vector in enumerate(read_golden(bundled).vectors):
        page.locator(".examples button").nth(index).click()
        expect(page.locator("#caption bdi")).to_have_text(vector.image)
        assert answers(page) == {
            "FP32": best(bundled, vector.image),
            "INT8": best(bundled, vector.image, "model.int8.onnx"),
            "8-bit input": best(bundled, vector.image, "model.uint8.onnx"),
        }


def test_a_chosen_file_is_classified_and_a_broken_one_reported(
    page: Page, bundled: Path, tmp_path: Path
) -> None:
    page.set_input_files("#files", bundled / "golden" / "photo-2.png")
    expect(page.locator("#caption bdi")).to_have_text("photo-2.png")
    assert answers(page)["FP32"] == best(bundled, "photo-2.png")
    expect(page.locator("#status")).to_contain_text(best(bundled, "photo-2.png"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.set_input_files("#files", tmp_path / "broken.png")
    expect(page.locator("#status")).to_have_text("broken.png: this browser cannot read it as an image")


def test_a_dropped_file_is_classified(page: Page, bundled: Path) -> None:
    content = list((bundled / "golden" / "photo-3.png").read_bytes())
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#caption bdi")).to_have_text("dropped.png")
    assert answers(page)["FP32"] == best(bundled, "photo-3.png")


def test_the_keyboard_is_enough(page: Page, bundled: Path) -> None:
    page.evaluate("document.activeElement.blur(); window.getSelection().collapse(document.body, 0)")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
        if page.evaluate("document.activeElement.closest('.examples') !== null"):
            break
    assert {"files", "folder", "camera"} <= set(reached)
    page.keyboard.press("Enter")
    expect(page.locator("#caption bdi")).to_have_text("photo-1.png")
    assert answers(page)["FP32"] == best(bundled, "photo-1.png")


def test_folders_give_an_accuracy(page: Page, bundled: Path, tmp_path: Path) -> None:
    golden, labels = read_golden(bundled), labels_of(bundled)
    photos = [vector for vector in golden.vectors if vector.label]
    for vector in photos:
        (tmp_path / "set" / vector.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(bundled / "golden" / vector.image, tmp_path / "set" / vector.label)
    (tmp_path / "set" / labels[0] / "notes.txt").write_text("no image")
    page.set_input_files("#folder", tmp_path / "set")
    expect(page.locator("#batch-text")).to_have_text("4 of 4 images classified.")
    right = sum(best(bundled, vector.image) == vector.label for vector in photos)
    row = page.locator("#accuracy tbody tr").first.locator("td").all_inner_texts()
    assert row[:2] == ["4", str(right)]
    assert row[2].replace("\u00a0", " ") == f"{right / 4:.1%}".replace("%", " %")
    assert page.locator("#rows tbody tr").count() == 4


def test_the_camera_is_live_until_it_is_stopped(page: Page) -> None:
    page.click("#camera")
    expect(page.locator("#caption bdi")).to_have_text("camera")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "true")
    page.click("#camera")
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []


def test_a_narrow_phone_scrolls_in_one_direction(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = [box.bounding_box() for box in page.locator("button:visible, .button:visible").all()]
        assert min(box["height"] for box in boxes if box) >= 44  # a finger's width
        assert violations(page) == []
    finally:
        page.set_viewport_size({"width": 1200, "height": 900})


def test_nothing_was_refused_or_failed(page: Page, troubles: list[str]) -> None:
    assert page.evaluate("crossOriginIsolated")
    assert troubles == []


def violations(page: Page) -> list[str]:
    axe = MODULES / "axe-core" / "axe.min.js"
    page.evaluate(axe.read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]


def test_the_page_works_offline_once_loaded(browser: Browser, bundled: Path) -> None:
    troubles: list[str] = []
    context = browser.new_context()
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, troubles))
        page.locator(".examples button").first.click()
        expect(page.locator("#columns .column")).to_have_count(1)
    context.set_offline(True)  # and the server is gone
    page.reload()
    ready(page).locator(".examples button").nth(1).click()
    expect(page.locator("#caption bdi")).to_have_text("photo-2.png")
    assert answers(page)["FP32"] == best(bundled, "photo-2.png")
    context.close()


def test_hostile_names_are_text(browser: Browser, make_bundle_run: Callable[..., RunFolder]) -> None:
    from kdtool.bundle.runtime import find_runtime

    folder = write_bundle(make_bundle_run(HOSTILE), Options(photographs=3), find_runtime(), QUIET)
    troubles: list[str] = []
    context = browser.new_context()
    with serving(open_server(folder, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, troubles))
        page.locator(".examples button").first.click()
        expect(page.locator("#columns li")).to_have_count(3)
        shown = set(page.locator("#columns li bdi").all_inner_texts())
        assert shown == {HOSTILE[0], HOSTILE[1], "right\\u202eleft"}
        assert page.locator("main script, main img[src=x]").count() == 0
    assert troubles == []
    context.close()


@pytest.fixture
def remote(bundled: Path, tmp_path: Path) -> Path:
    """A bundle whose page takes the runtime from its pinned address."""
    run = RunFolder(Path(shutil.copytree(bundled.parent, tmp_path / "run")))
    return write_bundle(run, Options(), WebRuntime(None), QUIET)


@pytest.mark.parametrize("tampered", [False, True])
def test_a_runtime_from_elsewhere_is_taken_with_its_hash_alone(
    browser: Browser, remote: Path, tampered: bool
) -> None:
    context = browser.new_context(service_workers="block")  # so that its requests can be answered here
    asked: list[str] = []

    def answer(route: Route, request: Request) -> None:
        name = request.url.rsplit("/", 1)[1]
        asked.append(name)
        body = (MODULES / "onnxruntime-web" / "dist" / name).read_bytes()
        kind = "application/wasm" if name.endswith(".wasm") else "text/javascript"
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": kind}
        route.fulfill(body=body + b"\n" * tampered, headers=headers)

    context.route(f"{CDN}**", answer)
    with serving(open_server(remote, "127.0.0.1", 0)) as url:
        page = open_page(context, url, [])
        if tampered:
            expect(page.locator("#status.bad")).to_contain_text("Failed to fetch")
            assert page.locator("body[data-ready]").count() == 0
        else:
            ready(page).locator(".examples button").first.click()
            expect(page.locator("#columns .column")).to_have_count(1)
            assert answers(page)["FP32"] == best(remote, "photo-1.png")
    assert asked[0] == "ort.wasm.bundle.min.mjs"
    context.close()


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


# --- Node --------------------------------------------------------------------------------------


def node(*arguments: object) -> str:
    done = subprocess.run(
        ["node", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_node_computes_what_python_computed(bundled: Path, tmp_path: Path) -> None:
    golden: Golden = read_golden(bundled)
    sizes = {}
    for vector in golden.vectors:
        image = decode((bundled / "golden" / vector.image).read_bytes(), vector.image)
        sizes[vector.image] = image.size
        (tmp_path / f"{vector.image}.rgba").write_bytes(image.convert("RGBA").tobytes())
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    runtime = MODULES / "onnxruntime-web" / "dist" / "ort.node.min.mjs"
    found = json.loads(node(Path(__file__).with_name("golden.mjs"), bundled, tmp_path, runtime))
    for vector in golden.vectors:
        entry = found[vector.image]
        assert entry["pixels"] == 0, vector.image
        assert set(entry["logits"]) == {"model.onnx", "model.int8.onnx", "model.uint8.onnx"}
        for file, logits in entry["logits"].items():
            assert logits == pytest.approx(vector.logits[file], abs=1e-4)
            assert entry["best"][file] == best(bundled, vector.image, file)


def test_the_resize_is_pillows_to_the_bit(tmp_path: Path) -> None:
    from kdtool.bundle.spec import preprocess_json

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
