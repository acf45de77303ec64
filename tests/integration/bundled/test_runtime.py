"""onnxruntime-web in a page: pinned by its hash, copied in or fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.bundles import REMOTE
from kdtool.bundle.options import Options
from kdtool.bundle.page.runtime import CDN, INTEGRITY, find_runtime, integrity_of
from kdtool.bundle.stage import write_bundle
from kdtool.core.errors import UsageError
from kdtool.core.screen import QUIET
from kdtool.runs.folder import RunFolder


def test_the_runtime_of_the_page_is_pinned_by_hash(bundled: Path, run: RunFolder) -> None:
    local = json.loads((bundled / "web" / "bundle.json").read_text())["runtime"]
    assert local["local"], "onnxruntime-web is not installed: make setup-test"
    for name, integrity in INTEGRITY.items():
        assert integrity_of((bundled / "web" / "ort" / name).read_bytes()) == integrity
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    remote = json.loads((folder / "web" / "bundle.json").read_text())["runtime"]
    assert not remote["local"]
    assert remote["wasm"] == {"url": CDN + "ort-wasm-simd-threaded.wasm", **remote["wasm"]} | {
        "integrity": INTEGRITY["ort-wasm-simd-threaded.wasm"]
    }
    assert not (folder / "web" / "ort").exists()


def test_a_runtime_of_another_version_is_refused(tmp_path: Path) -> None:
    for name in INTEGRITY:
        (tmp_path / name).write_bytes(b"another")
    with pytest.raises(UsageError, match="does not hold"):
        find_runtime(tmp_path)
