"""Folder web/: the files of the page, for any web server."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterator
from importlib.resources import files

from PIL import Image, ImageDraw

from kdtool.bundle.page.runtime import CDN, WebRuntime
from kdtool.core.files import sha256_bytes
from kdtool.core.text import printable

FOLDER = "web"
STATIC = (
    "app.js", "batch.js", "camera.js", "check.js", "client.js", "decode.js", "dom.js",
    "engine.js", "files.js", "prediction.js", "preprocess.js", "resize.js", "state.js", "style.css",
)  # fmt: skip
MODULES = ("decode.js", "preprocess.js", "resize.js")  # files of the page that apps use too
INDEX, WORKER, MANIFEST = "index.html", "sw.js", "manifest.webmanifest"
ICONS = {"icon-192.png": 192, "icon-512.png": 512}
BLUE, WHITE = "#1d4ed8", "#ffffff"


def policy(local: bool) -> str:
    """Content security policy: it allows files of the same server, and WebAssembly.

    If the runtime is not `local`, the policy also allows the pinned address, and scripts made from bytes
    that were fetched there and have the right hash (`blob:`).
    """
    cdn, blob = ("", "") if local else (f" {CDN.split('/npm/')[0]}", " blob:")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'wasm-unsafe-eval'{blob}",
            f"connect-src 'self'{cdn}",
            f"worker-src 'self'{blob}",
            "style-src 'self'",
            "img-src 'self' blob:",
            "media-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def page_files(
    name: str, bundle: bytes, golden: list[str], runtime: WebRuntime
) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the files in web/, except models and golden images.

    Args:
        name: name of the classifier.
        bundle: content of web/bundle.json.
        golden: file names of the golden images.
    """
    shell = [*STATIC, INDEX, MANIFEST, *ICONS, "bundle.json", *(f"golden/{file}" for file in golden)]
    contents = {file: source(file).encode() for file in STATIC}
    contents[INDEX] = (
        source(INDEX).replace("{{ csp }}", html.escape(policy(runtime.folder is not None))).encode()
    )
    contents[MANIFEST] = source(MANIFEST).replace('"{{ name }}"', _json(printable(name))).encode()
    contents |= {file: _icon(side) for file, side in ICONS.items()}
    contents["bundle.json"] = bundle
    contents |= dict(runtime.files())
    # The service worker fetches its stored copies again when any of these files changes.
    version = sha256_bytes(b"".join(contents[file] for file in sorted(contents)))[:16]
    worker = source(WORKER).replace('"{{ version }}"', _json(f"kdtool-{version}"))
    contents[WORKER] = worker.replace("{{ shell }}", _json(["./", *shell])).encode()
    yield from contents.items()


def source(name: str) -> str:
    """Text of a file of the page in this package."""
    return files("kdtool.bundle").joinpath("web", name).read_text("utf-8")


def page_hash() -> str:
    """SHA-256 of all files that the page is made of."""
    return sha256_bytes("".join(source(name) for name in (*STATIC, INDEX, WORKER, MANIFEST)).encode())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _icon(side: int) -> bytes:
    """Draw three bars, the longest on top, inside the area that no mask of a system cuts off."""
    image = Image.new("RGB", (side * 4, side * 4), BLUE)
    draw = ImageDraw.Draw(image)
    for row, length in enumerate((0.52, 0.34, 0.18)):
        top = (0.29 + row * 0.155) * side * 4
        left = 0.24 * side * 4
        box = (left, top, left + length * side * 4, top + 0.105 * side * 4)
        draw.rounded_rectangle(box, radius=side * 0.15, fill=WHITE)
    stream = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(stream, "PNG", optimize=True)
    return stream.getvalue()
