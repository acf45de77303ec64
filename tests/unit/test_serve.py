"""Where kdtool serve listens, and which addresses it names."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import urllib.request
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from kdtool.bundle.page import serve
from kdtool.bundle.page.serve import addresses, open_server
from kdtool.core.errors import SetupError, UsageError

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, never a proxy


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A page of one file."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "bundle.json").write_text('{"runtime": {"local": true}}')
    (tmp_path / "web" / "index.html").write_text("the page")
    return tmp_path


def fetch(server: ThreadingHTTPServer, address: str) -> str:
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    try:
        with DIRECT.open(address, timeout=10) as answer:
            return str(answer.read().decode())
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("127.0.0.1", "http://localhost:{}/"),
        ("localhost", "http://localhost:{}/"),
        ("127.0.0.2", "http://127.0.0.2:{}/"),
        pytest.param("::1", "http://[::1]:{}/", marks=IPV6),
    ],
)
def test_it_listens_where_it_is_told_and_says_so(bundle: Path, host: str, named: str) -> None:
    with open_server(bundle, host, 0) as server:
        (address,) = addresses(server, host)
        assert address == named.format(server.server_address[1])
        assert fetch(server, address) == "the page"


@pytest.mark.parametrize("host", ["0.0.0.0", "", pytest.param("::", marks=IPV6)])
def test_every_address_is_named_as_others_may_open_it(
    bundle: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_network_address", lambda: ["192.168.0.7"])
    with open_server(bundle, host, 0) as server:
        port = server.server_address[1]
        assert addresses(server, host) == (f"http://localhost:{port}/", f"http://192.168.0.7:{port}/")
        assert fetch(server, f"http://127.0.0.1:{port}/") == "the page"  # IPv4 under :: too


def test_this_machines_addresses_are_none_of_its_own_alone(bundle: Path) -> None:
    with open_server(bundle, "0.0.0.0", 0) as server:
        first, *others = addresses(server, "0.0.0.0")
        assert first.startswith("http://localhost:")
        for address in others:
            assert not address.startswith(("http://0.0.0.0", "http://127."))
            assert fetch(server, address) == "the page"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "999.1.1.1"])
def test_a_host_that_is_none_is_said_to_be_none(bundle: Path, host: str) -> None:
    with pytest.raises(UsageError, match="no such address") as caught:
        open_server(bundle, host, 0)
    assert f"--host {host}" in caught.value.message
    assert "port" not in caught.value.hint


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EADDRINUSE, "--port 0"),
        (errno.EACCES, "--port 0"),
        (errno.EADDRNOTAVAIL, "an address of this machine"),
    ],
)
def test_the_advice_fits_the_refusal(
    bundle: Path, number: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ThreadingHTTPServer, "server_bind", refuse)
    with pytest.raises(SetupError, match=r"Cannot listen on 127\.0\.0\.1:80: ") as caught:
        open_server(bundle, "127.0.0.1", 80)
    assert os.strerror(number) in caught.value.message
    assert hint in caught.value.hint


def test_a_browser_that_goes_away_is_no_error(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (bundle / "web" / "large.onnx").open("wb") as stream:
        stream.truncate(30_000_000)  # more than the system takes from the server at once
    with open_server(bundle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
        thread.start()
        with socket.create_connection(server.server_address[:2]) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no farewell
            one.sendall(b"GET /large.onnx HTTP/1.0\r\n\r\n")
            one.recv(10)
        server.shutdown()
        thread.join()
    assert capfd.readouterr().err == ""
