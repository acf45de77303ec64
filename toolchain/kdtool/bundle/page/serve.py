"""Server of `kdtool serve`: Python's HTTP server with the page of a bundle.

The server listens on the loopback address by default and serves only files of web/. Every response has the
headers that the page needs: a content security policy, the two headers that allow threads (COOP, COEP), and a
MIME type from the table below, since the table of the system may be wrong for .mjs or .wasm.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kdtool.bundle.page.webpage import FOLDER, INDEX, policy
from kdtool.core.errors import SetupError, UsageError
from kdtool.core.text import printable

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

LOOPBACK = "127.0.0.1"
UNUSED = ("192.0.2.1", 9)  # an address reserved for documentation (RFC 5737); nothing is sent to it


def open_server(bundle: Path, host: str, port: int) -> ThreadingHTTPServer:
    """Make a server for the page of `bundle`, which listens but does not serve yet.

    Args:
        host: an IPv4 or IPv6 address, or a host name.
        port: 0 takes a free port.

    Raises:
        UsageError: `bundle` has no page, or `host` is not an address.
        SetupError: the address is in use or does not belong to this machine.
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
    handler = partial(_Handler, directory=str(web.resolve()), headers=headers)
    refused: OSError | None = None
    for family, address in _resolved(host, port):
        try:
            return _Server(family, address, handler)
        except OSError as error:
            refused = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break  # trying the next address of the name would hide that this one is in use
    raise _cannot_listen(host, port, refused) from refused


def addresses(server: ThreadingHTTPServer, host: str) -> tuple[str, ...]:
    """Addresses at which a browser can open the page, best first; `host` is what the server was opened with.

    A server that listens on every address has two: "localhost", and the address for other machines.
    """
    bound, port = str(server.server_address[0]), server.server_address[1]
    if ipaddress.ip_address(bound).is_unspecified:
        names = ["localhost", *_network_address()]
    else:
        names = ["localhost" if host == LOOPBACK else host]
    return tuple(f"http://{f'[{name}]' if ':' in name else name}:{port}/" for name in names)


def _resolved(host: str, port: int) -> list[tuple[int, Any]]:
    """Family and address of each address that `host` stands for."""
    try:
        resolved = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
        cause = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"--host {printable(host)}: no such address ({cause}).",
            f"Leave --host out to listen on {LOOPBACK}; 0.0.0.0 listens on every address of this machine.",
        ) from error
    return [(family, address) for family, _, _, _, address in resolved]


def _cannot_listen(host: str, port: int, error: OSError | None) -> SetupError:
    where = f"[{host}]" if ":" in host else host
    if error is not None and error.errno in (errno.EADDRINUSE, errno.EACCES):
        hint = "Choose another port: kdtool serve --port 0 takes a free one."
    else:
        hint = "Choose an address of this machine; --host 0.0.0.0 listens on all of them."
    return SetupError(f"Cannot listen on {where}:{port}: {error.strerror if error else 'no address'}.", hint)


def _network_address() -> list[str]:
    """IPv4 address of this machine in its network; empty if it has none.

    A UDP socket that is connected sends nothing, but knows the address that it would send from.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(UNUSED)
        address = str(probe.getsockname()[0])
        return [] if ipaddress.ip_address(address).is_loopback else [address]
    return []


class _Server(ThreadingHTTPServer):
    """HTTP server for an IPv4 or IPv6 address."""

    def __init__(self, family: int, address: Any, handler: Any) -> None:
        self.address_family = socket.AddressFamily(family)
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless the browser closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    """Handler of GET and HEAD for files; it does not list folders."""

    extensions_map = TYPES
    server_version = "kdtool"
    sys_version = ""

    def __init__(self, *args: Any, headers: dict[str, str], **kwargs: Any) -> None:
        self._headers = headers
        super().__init__(*args, **kwargs)

    def end_headers(self) -> None:
        for name, value in self._headers.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002 (the server's signature)
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: requests of the page are private."""
