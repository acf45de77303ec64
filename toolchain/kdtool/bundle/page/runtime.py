"""Runtime of the page: onnxruntime-web, copied from where npm installed it, or loaded from a pinned address.

The runtime is not part of this package. A file that is copied or fetched must have the hash below.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtool.core.errors import UsageError

VERSION = "1.30.0"
MODULE, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
INTEGRITY = {  # hashes of the files in the npm package
    MODULE: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    WASM: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
PACKAGE = Path("node_modules/onnxruntime-web/dist")
FOLDER = "ort"  # inside the folder of the page


@dataclass(frozen=True)
class WebRuntime:
    """Runtime of a page; `folder` is None if the page loads it from the pinned address."""

    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """Addresses and hashes that the worker of the page reads."""
        base, query = (f"{FOLDER}/", f"?v={VERSION}") if self.folder else (CDN, "")
        parts = {"module": MODULE, "wasm": WASM}
        return {
            "version": VERSION,
            "local": self.folder is not None,
            **{
                key: {"url": f"{base}{name}{query}", "integrity": INTEGRITY[name]}
                for key, name in parts.items()
            },
        }

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the file names in the folder of the page, with their contents."""
        if self.folder is not None:
            for name in INTEGRITY:
                yield f"{FOLDER}/{name}", (self.folder / name).read_bytes()


def find_runtime(folder: Path | None = None) -> WebRuntime:
    """Find the runtime in `folder`, or where `make web` or `npm install` put it; or use the pinned address.

    Raises:
        UsageError: `folder` does not hold the files of this version.
    """
    if folder is not None:
        if not _holds(folder):
            raise UsageError(
                f"--web-runtime {folder}: does not hold {' and '.join(INTEGRITY)} of version {VERSION}.",
                f"Fetch them with: npm install onnxruntime-web@{VERSION}, then name {PACKAGE}",
            )
        return WebRuntime(folder)
    candidates = (Path(sys.prefix) / PACKAGE, PACKAGE)
    return WebRuntime(next((candidate for candidate in candidates if _holds(candidate)), None))


def integrity_of(content: bytes) -> str:
    """Hash of `content` in the form of the HTML attribute `integrity`: sha384-<base64>."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode("ascii")


def _holds(folder: Path) -> bool:
    try:
        return all(
            integrity_of((folder / name).read_bytes()) == expected for name, expected in INTEGRITY.items()
        )
    except OSError:
        return False
