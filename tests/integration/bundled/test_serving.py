"""kdtool serve: headers, types, and what it does not give out."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fixtures.browser import serving
from kdtool.bundle.page.serve import open_server
from kdtool.core.errors import SetupError, UsageError

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, never a proxy


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
