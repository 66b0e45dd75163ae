"""The server of a built app against clients that mean no good, are slow, or are many; over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from web_serving import served

from phantom_edge.apps.connections import Limits
from phantom_edge.apps.hosts import hosts_of
from phantom_edge.apps.listening import WebServer
from phantom_edge.apps.serve import serving
from phantom_edge.apps.site import FRAMES, GUARDS, ISOLATION, PLAIN_POLICY, TYPES, content_policy
from phantom_edge.errors import InputError

PEM = Path(__file__).with_name("certificate.pem")
"""For localhost, laptop.example and *.lan.example, with its key; valid for a hundred years."""
PROMPT = 2.0  # seconds in which a request has its answer whatever others do
POLICY = "default-src 'none'; script-src 'self'"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder that `app serve` takes for a built app."""
    app = tmp_path_factory.mktemp("site")
    (app / "bundle").mkdir()
    (app / "bundle" / "manifest.json").write_text("{}")
    (app / "index.html").write_text(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><p>app')
    (app / "digits.txt").write_text("0123456789")
    (app / "large.onnx_data").touch()
    os.truncate(app / "large.onnx_data", 200 << 20)  # a hole: it takes no space on the disk
    return app


@pytest.fixture(scope="module")
def server(site) -> Iterator[WebServer]:
    with served({"": site}) as running:
        yield running


@pytest.fixture(scope="module")
def tls_server(site) -> Iterator[WebServer]:
    with served({"": site}, certificate=PEM) as running:
        yield running


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def everything(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection, or drops it."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


def response(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    host: str = "localhost",
    tls: bool = False,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers by their small names, body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with connected(port) as client:
        if tls:
            client = ssl.create_default_context(cafile=PEM).wrap_socket(client, server_hostname="localhost")
        client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head, _, body = everything(client).partition(b"\r\n\r\n")
        client.close()
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


@contextlib.contextmanager
def command(site: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``phantom-edge app serve`` in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "phantom_edge", "app", "serve", str(site), "--port", "0", "--json", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs ignore it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        address = json.loads(process.stdout.readline())["address"]
        yield process, int(address.rstrip("/").rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


# --- clients that do nothing, or little


def test_silent_tls_clients_hold_up_nobody(tls_server):
    with contextlib.ExitStack() as open_ones:
        for _ in range(50):
            open_ones.enter_context(connected(tls_server.port))
        begin = time.monotonic()
        assert response(tls_server.port, "/digits.txt", tls=True)[2] == b"0123456789"
        assert time.monotonic() - begin < PROMPT


def test_a_client_that_never_ends_its_handshake_is_dropped(site):
    with (
        served({"": site}, certificate=PEM, limits=Limits(handshake=0.3)) as server,
        connected(server.port) as client,
    ):
        assert everything(client) == b""


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"\r\n"])
def test_a_client_without_a_whole_request_is_dropped(site, head):
    with served({"": site}, limits=Limits(request=0.5)) as server, connected(server.port) as client:
        client.sendall(head)
        dripping = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not dripping.wait(0.05):
                    client.sendall(b"x")  # a byte now and then keeps it as little as silence does

        thread = threading.Thread(target=drip, daemon=True)
        if head:
            thread.start()
        begin = time.monotonic()
        everything(client)
        assert time.monotonic() - begin < PROMPT
        dripping.set()


def test_a_connection_at_rest_is_closed(site):
    with served({"": site}, limits=Limits(keep_alive=1)) as server, connected(server.port) as client:
        client.sendall(b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert everything(client).endswith(b"0123456789")


@pytest.mark.parametrize("certificate", [None, PEM])
def test_a_client_that_does_not_read_is_dropped(site, certificate):
    with (
        served({"": site}, certificate=certificate, limits=Limits(stall=0.5)) as server,
        connected(server.port) as client,
    ):
        if certificate:
            client = ssl.create_default_context(cafile=PEM).wrap_socket(client, server_hostname="localhost")
        client.sendall(b"GET /large.onnx_data HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        assert server.connections == 1
        deadline = time.monotonic() + 10
        while server.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.connections == 0
        client.close()


def test_a_thousand_connections_are_not_a_thousand_threads(site):
    resource = pytest.importorskip("resource", reason="needs a system with file limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not Path("/proc/self/status").is_file() or 0 <= hard < 2000:
        pytest.skip("needs Linux: its /proc, and 2000 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    try:
        with command(site) as (process, port), contextlib.ExitStack() as open_ones:
            loading = open_ones.enter_context(connected(port))
            loading.sendall(b"GET /large.onnx_data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert loading.recv(12) == b"HTTP/1.1 200"
            for n in range(1000):
                open_ones.enter_context(connected(port))
                if n % 50 == 49:
                    begin = time.monotonic()
                    assert response(port)[0] == 200
                    assert time.monotonic() - begin < PROMPT
            status = Path(f"/proc/{process.pid}/status").read_text().split()
            assert int(status[status.index("Threads:") + 1]) < 60
            assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < Limits().connections + 60
            assert len(everything(loading)) > 200 << 20  # the one that was being answered has all of it
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_large_file_is_not_held_in_memory(site):
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux: its /proc")

    def peak(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text().split()
        return int(status[status.index("VmHWM:") + 1]) << 10

    with command(site) as (process, port):
        assert response(port)[0] == 200
        before = peak(process.pid)
        assert len(response(port, "/large.onnx_data")[2]) == 200 << 20
        assert peak(process.pid) - before < 32 << 20


# --- what is no request


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS, where http is spoken
        b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"x" * 60_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"A" * 60_000,
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_no_request_is_answered_400(server, sent):
    with connected(server.port) as client:
        client.sendall(sent)
        assert client.recv(12) == b"HTTP/1.1 400"
    assert response(server.port)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
def test_files_are_only_read(server, method):
    status, headers, _ = response(server.port, method=method)
    assert (status, headers["allow"]) == (405, "get, head")


def test_a_websocket_is_not_opened(server):
    assert response(server.port, Upgrade="websocket", Connection="Upgrade")[0] == 200


# --- whose name it is


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8462", 200), ("localhost.", 200), ("app.localhost:1", 200),
        ("127.0.0.1", 200), ("127.0.0.1:8462", 200), ("[::1]:8462", 200),
        ("rebound.example", 421), ("rebound.example:8462", 421), ("localhost.rebound.example", 421),
        ("127.0.0.1.rebound.example", 421), ("notlocalhost", 421), ("192.168.1.7", 421), ("[fe80::1]", 421),
        ("[localhost]", 421), ("localhost:port", 421), ("localhost@rebound.example", 421), ("", 421),
    ],
)  # fmt: skip
def test_only_its_own_names_are_answered(server, host, status):
    answer = response(server.port, "/digits.txt", host=host)
    assert answer[0] == status
    assert (answer[2] == b"0123456789") == (status == 200)


def test_over_tls_the_names_of_the_certificate_are_its_own(tls_server):
    for host, status in {
        "laptop.example": 200,
        "phone.lan.example": 200,
        "a.b.lan.example": 421,
        "rebound.example": 421,
    }.items():
        assert response(tls_server.port, host=host, tls=True)[0] == status, host


def test_a_server_for_other_devices_has_addresses_and_the_machines_name():
    everywhere = hosts_of("0.0.0.0", "0.0.0.0")
    assert everywhere.allow("192.168.1.7:8462")
    assert everywhere.allow("[fe80::1]:8462")
    assert everywhere.allow(f"{socket.gethostname()}:8462")
    assert everywhere.allow(f"{socket.gethostname()}.local")
    assert not everywhere.allow("rebound.example")
    one = hosts_of("box.example", "192.168.1.7")
    assert one.allow("box.example:1")
    assert one.allow("192.168.1.7:1")
    assert not one.allow("192.168.1.8:1")


# --- what is sent


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/", "localhost", 200), ("/nothing", "localhost", 404), ("/", "rebound.example", 421)],
)
def test_every_answer_carries_the_guarding_headers(server, path, host, status):
    answer, headers, _ = response(server.port, path, host=host)
    assert answer == status
    expected = ISOLATION | GUARDS | {"Content-Security-Policy": f"{POLICY}; {FRAMES}"}
    assert {name: headers[name.lower()] for name in expected} == {k: v.lower() for k, v in expected.items()}
    assert "server" not in headers


def test_the_policy_is_the_pages_own(tmp_path):
    page = tmp_path / "index.html"
    assert content_policy(None) == content_policy(tmp_path) == f"{PLAIN_POLICY}; {FRAMES}"
    for text, policy in {
        "<p>nothing stated</p>": PLAIN_POLICY,
        "<META content='img-src *;\n x-src a' HTTP-EQUIV=content-security-policy>": "img-src *; x-src a",
        "<meta http-equiv='Content-Security-Policy' content='img-src \N{BULLET}\x00'>": PLAIN_POLICY,
    }.items():
        page.write_text(text)
        assert content_policy(tmp_path) == f"{policy}; {FRAMES}"


def test_every_kind_of_file_has_its_type(tmp_path):
    for ending in TYPES:
        (tmp_path / f"a{ending}").touch()
    with served({"": tmp_path}) as server:
        for ending, kind in TYPES.items():
            assert response(server.port, f"/a{ending}")[1]["content-type"] == kind


def test_head_is_get_without_a_body(server):
    status, headers, body = response(server.port, "/digits.txt", method="HEAD")
    assert (status, headers["content-length"], body) == (200, "10", b"")
    assert response(server.port, "/nothing", method="HEAD")[::2] == (404, b"")


@pytest.mark.parametrize(
    ("ranges", "status", "body"),
    [
        ("bytes=0-3", 206, b"0123"), ("bytes=7-", 206, b"789"), ("bytes=-2", 206, b"89"),
        ("bytes=5-99", 206, b"56789"), ("bytes=10-", 416, b""), (f"bytes={'9' * 5000}-", 400, None),
    ],
)  # fmt: skip
def test_parts_of_a_file(server, ranges, status, body):
    answer = response(server.port, "/digits.txt", Range=ranges)
    assert answer[0] == status
    assert body is None or answer[2] == body


def test_several_parts_and_an_unchanged_file(server):
    status, headers, body = response(server.port, "/digits.txt", Range="bytes=0-1,8-9")
    assert (status, headers["content-type"].partition(";")[0]) == (206, "multipart/byteranges")
    assert b"\r\n\r\n01\r\n" in body
    assert b"\r\n\r\n89\r\n" in body
    tag = response(server.port, "/digits.txt")[1]["etag"]
    assert response(server.port, "/digits.txt", If_None_Match=tag)[::2] == (304, b"")


def test_what_shrinks_is_sent_as_gzip_to_who_takes_it(tmp_path):
    text = b"let a = 1\n" * 1000
    for name in ("index.html", "assets/app.js", "runtime.wasm", "model.onnx_data", "small.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text[:100] if name == "small.js" else text)
    with served({"": tmp_path}) as server:
        for path in ("/", "/assets/app.js", "/runtime.wasm"):
            status, headers, body = response(server.port, path, accept_encoding="br, gzip;q=0.5")
            assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "accept-encoding")
            assert len(body) == int(headers["content-length"]) < len(text) // 20
            assert gzip.decompress(body) == text
            again = response(
                server.port, path, accept_encoding="gzip", if_none_match=headers["etag"].replace("w/", "W/")
            )
            assert (again[0], again[2]) == (304, b"")
            head = response(server.port, path, method="HEAD", accept_encoding="gzip")
            assert (head[1]["content-length"], head[2]) == (headers["content-length"], b"")
        for path, wish in {"/model.onnx_data": "gzip", "/small.js": "gzip", "/": "gzip;q=0, br"}.items():
            status, headers, body = response(server.port, path, accept_encoding=wish)
            assert (status, "content-encoding" in headers) == (200, False)
            assert body == (text[:100] if path == "/small.js" else text)
        part = response(server.port, "/assets/app.js", accept_encoding="gzip", range="bytes=0-2")
        assert (part[0], part[2]) == (206, b"let")
        (tmp_path / "assets" / "app.js").write_bytes(b"let b = 2\n" * 1000)
        body = response(server.port, "/assets/app.js", accept_encoding="gzip")[2]
        assert gzip.decompress(body).startswith(b"let b")  # not what was kept of the file before


def test_requests_in_one_go_and_a_half_closed_client_have_their_answers(server):
    request = b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(server.port) as client:
        client.sendall(3 * request)
        client.shutdown(socket.SHUT_WR)
        assert everything(client).count(b"0123456789") == 3


# --- begin and end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("tls", [False, True])
def test_it_ends_at_once_and_without_an_error(site, number, tls):
    options = ("--cert", str(PEM)) if tls else ()
    with command(site, *options) as (process, port), connected(port), connected(port) as loading:
        if not tls:
            loading.sendall(b"GET /large.onnx_data HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert loading.recv(12) == b"HTTP/1.1 200"
        process.send_signal(number)
        _, errors = process.communicate(timeout=Limits().end + 10)
        assert (process.returncode, errors) == (0, ""), errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70_000}, "port 70000 is not one"),
        ({"host": "no-such-host.invalid"}, "cannot listen on no-such-host.invalid"),
        ({"host": "x" * 400}, "give another --host"),
        ({"host": "198.51.100.1"}, "cannot listen on 198.51.100.1"),
        ({"certificate": Path("nothing.pem")}, "give PEM files"),
        ({"certificate": PEM, "key": Path(__file__)}, "give PEM files"),
    ],
)
def test_what_it_cannot_begin_with_is_one_line(site, options, message):
    with pytest.raises(InputError, match=message) as caught, serving({"": site}, **options):
        pass
    assert len(str(caught.value)) <= 300


def test_it_listens_on_ipv6(site):
    try:
        with served({"": site}, host="::1") as server:
            assert server.address.startswith("http://localhost:")
            with socket.create_connection(("::1", server.port), timeout=20) as client:
                client.sendall(b"GET /digits.txt HTTP/1.0\r\nHost: [::1]\r\n\r\n")
                assert everything(client).endswith(b"0123456789")
    except InputError as error:
        pytest.skip(f"needs IPv6: {error}")
