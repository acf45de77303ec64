"""onnxruntime-web for the page: copied in where npm has left it, else named at a pinned address.

Never committed and never trusted by name: what is copied or fetched must have the hash below.
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
INTEGRITY = {  # of the package on npm
    MODULE: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    WASM: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
PACKAGE = Path("node_modules/onnxruntime-web/dist")
FOLDER = "ort"  # in the page's folder


@dataclass(frozen=True)
class WebRuntime:
    """The runtime of one page; `folder` is None where it comes from the pinned address."""

    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """What the page's worker reads."""
        base, query = (f"{FOLDER}/", f"?v={VERSION}") if self.folder else (CDN, "")
        named = {"module": MODULE, "wasm": WASM}
        return {
            "version": VERSION,
            "local": self.folder is not None,
            **{
                key: {"url": f"{base}{name}{query}", "integrity": INTEGRITY[name]}
                for key, name in named.items()
            },
        }

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Names in the page's folder, and contents."""
        if self.folder is not None:
            for name in INTEGRITY:
                yield f"{FOLDER}/{name}", (self.folder / name).read_bytes()


def find_runtime(named: Path | None = None) -> WebRuntime:
    """The runtime in `named`, or where `make web` or `npm install` left it, or at its pinned address.

    Raises:
        UsageError: `named` does not hold the files of this version.
    """
    if named is not None:
        if not _holds(named):
            raise UsageError(
                f"--web-runtime {named}: does not hold {' and '.join(INTEGRITY)} of version {VERSION}.",
                f"Fetch them with: npm install onnxruntime-web@{VERSION}, then name {PACKAGE}",
            )
        return WebRuntime(named)
    places = (Path(sys.prefix) / PACKAGE, PACKAGE)
    return WebRuntime(next((place for place in places if _holds(place)), None))


def integrity_of(content: bytes) -> str:
    """As in the attribute `integrity`: sha384-<base64>."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode("ascii")


def _holds(folder: Path) -> bool:
    try:
        return all(integrity_of((folder / name).read_bytes()) == want for name, want in INTEGRITY.items())
    except OSError:
        return False
