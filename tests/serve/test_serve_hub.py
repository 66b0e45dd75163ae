"""A server of a bundle that is on a hub: fetched and checked before it begins, served from this machine."""

from __future__ import annotations

import subprocess
import sys

from api_server import api_server, data_url, user
from model_hub import Repository, model_hub, point_at

QUESTION = "How many objects are there?"


def test_a_bundle_of_the_hub(nano, session, pictures, tmp_path, monkeypatch):
    files = {str(path.relative_to(nano)): path.read_bytes() for path in nano.rglob("*") if path.is_file()}
    with model_hub() as hub:
        hub.repositories["someone/nano-box"] = Repository()
        hub.repositories["someone/nano-box"].commit(files)
        point_at(monkeypatch, hub, tmp_path)
        with api_server("--model", "someone/nano-box") as server:
            requests = len(hub.requests)
            body = {"model": "nano-box", "messages": [user(QUESTION, data_url(pictures[0]))]}
            answer = server.post(body).json()["choices"][0]["message"]["content"]
            assert answer == "".join(session.generate(QUESTION, pictures[0]))
            assert len(hub.requests) == requests
        command = [sys.executable, "-m", "phantom_edge", "serve", "--port", "0", "--model", "someone/nobody"]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: someone/nobody: ")
    assert refused.stderr.count("\n") == 1
