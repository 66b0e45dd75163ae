"""The page's client session runs as it stands; the unit and the container's recipe hold what they say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from api_server import api_server, user

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
UNIT = ROOT / "deploy" / "phantom-edge.service"
RECIPE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
ADDRESS = "http://localhost:8000/"


def test_the_clients_session(nano, pictures, tmp_path):
    (session,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    pictures[0].save(tmp_path / "photo.jpg")
    with api_server("--model", f"nano-desktop={nano}") as server:
        code = session.replace(ADDRESS, server.address)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        text, chosen, seen = done.stdout.splitlines()
        assert text
        colour, _, probabilities = chosen.partition(" ")
        assert colour in ("red", "green", "blue")
        assert all(number <= 0 for number in json.loads(probabilities))
        read, _, tokens = seen.rpartition(" ")
        assert json.loads(read).keys() == {"colour", "count"}
        assert int(tokens) > 0
        curl = re.search(r"^curl .*?^```", PAGE, re.MULTILINE | re.DOTALL)[0].removesuffix("```")
        if shutil.which("curl"):
            command = curl.replace("\\\n", " ").replace(ADDRESS, server.address)
            done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60)
            assert json.loads(done.stdout)["choices"]


def test_the_unit(nano, tmp_path):
    unit = UNIT.read_text(encoding="utf-8")
    if tool := shutil.which("systemd-analyze"):
        script = Path(sys.executable).parent / "phantom-edge"
        (tmp_path / UNIT.name).write_text(unit.replace("/opt/phantom-edge/bin/phantom-edge", str(script)))
        done = subprocess.run([tool, "verify", tmp_path / UNIT.name], capture_output=True, text=True)
        assert UNIT.name not in done.stderr, done.stderr
    (tmp_path / "api-key").write_text("a-key-of-the-unit\n")
    command = re.search(r"^ExecStart=\S+ serve (.*)$", unit, re.MULTILINE)[1]
    places = {"${CREDENTIALS_DIRECTORY}": tmp_path, "${CACHE_DIRECTORY}": tmp_path}
    for name, place in {**places, "/opt/phantom-edge/model": nano}.items():
        assert name in command
        command = command.replace(name, str(place))
    with api_server(*shlex.split(command)) as server:
        headers = {"Authorization": "Bearer a-key-of-the-unit"}
        assert server.post({"messages": [user("?")], "max_tokens": 1}, headers=headers).status_code == 200
    assert (tmp_path / "pictures").is_dir()


def test_the_containers_recipe(nano):
    command = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", RECIPE, re.MULTILINE)[1])
    health = json.loads(re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", RECIPE, re.MULTILINE)[1])
    assert command[:2] == ["phantom-edge", "serve"]
    port = command.index("--port")
    assert command[port:] == ["--port", "8000"]
    options = [option.replace("/model", str(nano)) for option in command[2:port]]
    with api_server(*options, PHANTOM_EDGE_API_KEY="a-key-of-the-container") as server:
        check = [sys.executable, *(part.replace(ADDRESS, server.address) for part in health[1:])]
        assert subprocess.run(check, timeout=60).returncode == 0
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert subprocess.run(check, timeout=60, capture_output=True).returncode != 0


def test_the_page_names_every_option():
    done = subprocess.run(
        [sys.executable, "-m", "phantom_edge", "serve", "--help"], capture_output=True, text=True
    )
    options = set(re.findall(r"--[a-z][a-z-]+", done.stdout)) - {"--help", "--json", "--port", "--api-key"}
    assert len(options) > 12
    assert options <= set(re.findall(r"--[a-z][a-z-]+", PAGE))


@pytest.mark.parametrize("code", sorted(set(re.findall(r'code="([a-z_]+)"', "".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "phantom_edge" / "serve").glob("*.py")
)))))  # fmt: skip
def test_the_page_names_every_code(code):
    assert f"`{code}`" in PAGE
