"""Who may ask: keys, pages of other sites, other names; and what the server may fetch for them."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest
from api_server import ApiServer, api_server, user
from PIL import Image

from phantom_edge.serve import fetch
from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.fetch import Fetcher

KEY = "a-key-that-nobody-guesses"
HELLO = user("Is it red?")


# --- keys, pages, names


@pytest.fixture(scope="module")
def guarded(nano) -> Iterator[ApiServer]:
    options = ("--cors", "https://app.example", "--allow-host", "box.example", "--host", "0.0.0.0")
    with api_server("--model", str(nano), *options, PHANTOM_EDGE_API_KEY=KEY) as running:
        yield running


def test_only_who_knows_the_key_is_answered(guarded):
    answers = guarded.client(api_key=KEY).chat.completions
    assert answers.create(model="nano", messages=[HELLO], max_tokens=1).choices
    for wrong in ("another-key", KEY[:-1], f"{KEY}x", "x"):
        with pytest.raises(openai.AuthenticationError) as caught:
            guarded.client(api_key=wrong).models.list()
        assert caught.value.code == "invalid_api_key"
    for path in ("v1/models", "metrics", "v1/nothing"):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"Authorization": f"Basic {KEY}"}).status_code == 401
    assert guarded.get("metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert guarded.get("health").status_code == 200


def test_the_key_is_nowhere_to_be_seen(guarded):
    if not Path("/proc/self/environ").is_file():
        pytest.skip("needs Linux: its /proc")
    guarded.post({"messages": [HELLO], "max_tokens": 1}, headers={"Authorization": f"Bearer {KEY}"})
    worker = Path(f"/proc/{guarded.pid()}")
    assert KEY.encode() not in (worker / "environ").read_bytes() + (worker / "cmdline").read_bytes()
    assert KEY not in "".join(guarded.log)


def test_a_key_from_a_file(nano, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    with api_server("--model", str(nano), "--api-key-file", str(tmp_path / "key")) as server:
        assert server.get("v1/models").status_code == 401
        assert server.get("v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_pages_of_the_named_origin_alone_may_ask(guarded, server):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    url = f"{guarded.address}v1/chat/completions"
    http = guarded.client()._client
    allowed = http.options(url, headers={**asks, "Origin": "https://app.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert http.options(url, headers={**asks, "Origin": "https://evil.example"}).status_code == 400
    answer = server.get("v1/models", headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers
    url = f"{server.address}v1/chat/completions"
    assert http.options(url, headers={**asks, "Origin": "https://app.example"}).status_code == 405


def test_other_names_are_given(guarded):
    for host, status in {"box.example:80": 401, "192.168.1.7": 401, "rebound.example": 421}.items():
        assert guarded.get("v1/models", headers={"Host": host}).status_code == status


def test_other_devices_without_a_key_are_warned_of(nano):
    with api_server("--model", str(nano), "--host", "0.0.0.0") as server:
        assert server.get("health").status_code == 200
        assert server.log[0].startswith("warning: whoever reaches this machine may ask; --api-key-file")


# --- pictures by their address


class _Site(BaseHTTPRequestHandler):
    """A web server of pictures that are good, large, slow, none, or elsewhere."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        kind = self.path.strip("/").partition("?")[0]
        if kind.startswith("to-"):
            self.send_response(302)
            self.send_header(
                "Location",
                {"to-good": "/good", "to-private": "http://private.example/good"}.get(kind, self.path),
            )
            self.end_headers()
            return
        self.send_response(404 if kind == "none" else 200)
        if kind == "short":
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        if kind == "large":
            self.wfile.write(bytes(3 << 20))
        elif kind == "slow":
            for _ in range(600):
                self.wfile.write(b"x")
                time.sleep(0.02)
        else:
            file = io.BytesIO()
            Image.new("RGB", (64, 64), "red").save(file, "png")
            self.wfile.write(file.getvalue())


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def refusal(fetcher: Fetcher, url: str) -> tuple[str, str]:
    with pytest.raises(ApiError) as caught:
        fetcher.get(url)
    return caught.value.code, str(caught.value)


def test_pictures_by_address(site, monkeypatch):
    monkeypatch.setattr(fetch, "SECONDS", 1.0)
    fetcher = Fetcher(2 << 20, private=True)
    for path in ("good", "to-good", "good?size=1"):
        assert fetcher.get(f"{site}/{path}")[1:4] == b"PNG"
    for path, words in {
        "none": "answered 404",
        "large": "more than 2 MB",
        "slow": "gave no picture in 1 s",
        "short": "cannot be read",
        "to-itself": "leads on more than 3 times",
        "a b": "cannot be read",
    }.items():
        assert words in refusal(fetcher, f"{site}/{path}")[1]
    for url in ("http://", "http://[::1", "http://localhost:99999/", "ftp://x/", "http://x" + "y" * 9999):
        assert refusal(fetcher, url)[0] == "invalid_image_url"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "[::1]", "[fe80::1]",
     "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "100.64.0.1", "2130706433", "224.0.0.1"],
)  # fmt: skip
def test_private_addresses_are_not_asked(host):
    assert refusal(Fetcher(1 << 20), f"http://{host}/x.png")[0] in (
        "image_url_not_allowed",
        "invalid_image_url",
    )


def test_a_public_page_that_leads_inside_is_not_followed(site, monkeypatch):
    """Each step is looked up by itself."""
    fetcher = Fetcher(1 << 20)
    inside = site.rpartition(":")[2]

    def looked_up(host, port, *_, **__):
        address = "93.184.215.14" if host == "public.example" else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connect = socket.create_connection
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(
        socket, "create_connection", lambda _, **options: connect(("127.0.0.1", int(inside)), **options)
    )
    assert fetcher.get("http://public.example/good")[1:4] == b"PNG"
    assert refusal(fetcher, "http://public.example/to-private")[0] == "image_url_not_allowed"


def test_a_server_that_may_fetch(nano, site):
    options = ("--allow-url", "--allow-private-url")
    with api_server("--model", str(nano), *options) as server:
        answer = server.post({"messages": [user("What colour is it?", f"{site}/good")]})
        assert answer.status_code == 200
        assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] > 0
        refused = server.post({"messages": [user("What colour is it?", f"{site}/none")]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_image_url")
    with api_server("--model", str(nano), "--allow-url") as server:
        refused = server.post({"messages": [user("What colour is it?", f"{site}/good")]})
        assert refused.json()["error"]["code"] == "image_url_not_allowed"
