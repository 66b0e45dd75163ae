"""How a phone reaches a server here: addresses that answer, a QR code that holds one, what https changes."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from phantom_edge.apps.qr import DARK_ON_LIGHT, RESET, qr_lines
from phantom_edge.apps.reach import Reach
from phantom_edge.apps.serve import serving

PEM = Path(__file__).with_name("certificate.pem")
"""For localhost, laptop.example and *.lan.example, with its key."""
# A shell that runs the tests in the background has its children ignore an interrupt.
INTERRUPTIBLE = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
URL = "https://192.168.178.123:8462/"
BLOCKS = {" ": (False, False), "▀": (True, False), "▄": (False, True), "█": (True, True)}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """What is taken for a built app."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("the app")
    (folder / "bundle").mkdir()
    (folder / "bundle" / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def network(site):
    """A machine that others can reach."""
    with serving({"": site}, host="0.0.0.0") as server:
        return Reach.of(server).addresses or pytest.skip("needs a network address")


def modules(lines: list[str]) -> list[list[bool]]:
    """Which modules of a code in a terminal are drawn in the text's colour."""
    rows = []
    for line in lines:
        pairs = [BLOCKS[block] for block in line.removeprefix(DARK_ON_LIGHT).removesuffix(RESET)]
        rows += [list(row) for row in zip(*pairs, strict=True)]
    return rows


def test_a_server_for_this_machine_alone_has_no_address_for_others(site):
    with serving({"": site}) as server:
        reach = Reach.of(server)
    assert (reach.addresses, reach.hints()) == ((), [])


def test_the_addresses_answer(site, network):
    with serving({"": site}, host="0.0.0.0") as server:
        reach = Reach.of(server)
        server.start()
        for address in reach.addresses:
            assert re.fullmatch(rf"http://[\d.]+:{server.port}/", address)
            assert not address.startswith("http://127.")
            with urllib.request.urlopen(address, timeout=20) as answer:
                assert answer.read() == b"the app"
        one = reach.addresses[0].split("//")[1].split(":")[0]
    with serving({"": site}, host=one) as server:
        assert Reach.of(server).addresses == (server.address,)


def test_without_https_it_says_what_is_missing_and_how_to_get_it(site, network):
    with serving({"": site}, host="0.0.0.0") as server:
        reach = Reach.of(server)
    host = reach.addresses[0].split("//")[1].split(":")[0]
    text = "\n".join(reach.hints())
    assert "no camera" in text
    assert "sample and pictures work" in text
    assert f"-cert-file cert.pem -key-file key.pem {host}\n" in text
    assert "--cert cert.pem --key key.pem" in text


def test_with_a_certificate_the_name_in_it_comes_first(site, network):
    with serving({"": site}, host="0.0.0.0", certificate=PEM) as server:
        reach = Reach.of(server)
        assert reach.addresses == (f"https://laptop.example:{server.port}/",)
    assert reach.hints() == []
    other = Reach(("https://192.168.1.7:8462/",), secure=True, named=False)
    (line,) = other.hints()
    assert "does not name 192.168.1.7" in line
    assert Reach(("http://[fe80::1]:8462/",), False, False).hints()[1].endswith(" fe80::1")


@pytest.mark.parametrize("colour", [True, False])
def test_a_code_is_the_address_in_any_colours(colour):
    segno = pytest.importorskip("segno")
    lines = qr_lines(URL, 80, colour=colour)
    matrix = segno.make(URL, error="l", micro=False).matrix_iter(border=4)
    rows = modules(lines)
    expected = [[bool(module) == colour for module in row] for row in matrix]
    assert rows[: len(expected)] == expected
    assert rows[len(expected) :] in ([], [[not colour] * len(expected)])
    assert all(line.startswith(DARK_ON_LIGHT) == colour for line in lines)


def test_a_code_fits_its_terminal_or_is_not_there():
    pytest.importorskip("segno")
    sizes = {width: qr_lines(URL, width, colour=False) for width in (80, 33, 32, 29, 28, 20)}
    assert [len(lines[0]) if lines else 0 for lines in sizes.values()] == [33, 33, 29, 29, 0, 0]


def printed(site: Path, *options: str, columns: int = 80, **environment: str) -> str:
    """What `app serve` shows in a terminal until it is stopped."""
    command = [sys.executable, "-m", "phantom_edge", "app", "serve", str(site), "--port", "0", *options]
    above, below = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8", **environment}
    process = subprocess.Popen(
        command, stdout=below, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=INTERRUPTIBLE
    )
    os.close(below)
    text, end = b"", time.monotonic() + 120
    while b"mkcert -CAROOT" not in text and time.monotonic() < end:
        if select.select([above], [], [], 1)[0]:
            text += os.read(above, 1 << 16)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    os.close(above)
    return text.decode()


@pytest.mark.slow
def test_a_terminal_shows_the_code_as_it_can(site, network):
    pytest.importorskip("segno")
    host = ("--host", "0.0.0.0")
    in_colour = printed(site, *host)
    assert "on other devices: http://" in in_colour
    assert in_colour.count(DARK_ON_LIGHT) > 10
    plain = printed(site, *host, NO_COLOR="1")
    assert "\x1b[" not in plain
    assert "▄▄▄▄▄" in plain
    for other in (
        printed(site, *host, "--no-qr"),
        printed(site, *host, columns=24),
        printed(site, *host, PYTHONIOENCODING="ascii"),
    ):
        assert "on other devices: http://" in other
        assert not set("▀▄█") & set(other)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--host", "0.0.0.0")])
def test_for_machines_it_is_one_line(site, network, options):
    command = [
        sys.executable,
        "-m",
        "phantom_edge",
        "app",
        "serve",
        str(site),
        "--port",
        "0",
        "--json",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=INTERRUPTIBLE) as process:
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert line["address"].startswith("http://localhost:")
    assert bool(line["others"]) == bool(options)
