"""`kdtool serve`: the page of a bundle, given out by Python's own HTTP server.

Loopback unless asked otherwise; files of web/ alone; every answer carries the headers a page of this kind
wants: a content security policy, the two that allow threads (COOP, COEP), and MIME types by our own table,
since that of the system may say anything of .mjs or .wasm.
"""

from __future__ import annotations

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kdtool.bundle.webpage import FOLDER, INDEX, policy
from kdtool.core.errors import SetupError, UsageError

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".npy": "application/octet-stream",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    "": "text/plain; charset=utf-8",
}


def open_server(bundle: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the bundle's page, bound and not yet serving; port 0 takes a free one.

    Raises:
        UsageError: `bundle` has no page.
        SetupError: the address is taken or not ours.
    """
    web = bundle / FOLDER
    try:
        local = bool(json.loads((web / "bundle.json").read_text("utf-8"))["runtime"]["local"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{bundle} has no page ({web / INDEX} and bundle.json).",
            "Name the folder that kdtool bundle wrote.",
        ) from error
    headers = {
        "Content-Security-Policy": f"{policy(local)}; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    try:
        return ThreadingHTTPServer(
            (host, port), partial(_Handler, directory=str(web.resolve()), headers=headers)
        )
    except OSError as error:
        raise SetupError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            "Choose another port: kdtool serve --port 0 takes a free one.",
        ) from error


class _Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of files; folders are not listed."""

    extensions_map = TYPES
    server_version = "kdtool"
    sys_version = ""

    def __init__(self, *args: Any, headers: dict[str, str], **kwargs: Any) -> None:
        self._own_headers = headers
        super().__init__(*args, **kwargs)

    def end_headers(self) -> None:
        for name, value in self._own_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002 (the server's signature)
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what a page asks for is nobody's business."""
