"""Nothing leaves the device: no runtime looks up a name, connects, or writes where nothing is expected."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from outbound import Watched, Watcher
from PIL import Image

# The libraries that export and run a format take part, and for one of them all that verify uses.
EXPORT_AND_ASK = """
import sys
from pathlib import Path
import phantom_edge as pe

target, model, picture = sys.argv[1:]
if target == "torch":
    opened = model
else:
    place = {"target": "ios", "format": "coreai"} if target == "coreai" else {"target": target}
    opened = Path("bundle")
    pe.export(pe.ExportRequest(model=model, output=opened, verify=target == "desktop", **place))
session = pe.Session.open(opened)
print("answer:", "".join(session.generate("What is it?", picture, max_tokens=3)))
"""
SERVE_AND_ASK = """
import json, sys, urllib.request
from pathlib import Path
from phantom_edge.serve.models import models
from phantom_edge.serve.options import ServeOptions
from phantom_edge.serve.server import serving

body = json.dumps({"messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 3}).encode()
kind = {"Content-Type": "application/json"}
with serving(ServeOptions(models([]), cache_folder=Path("seen"))) as server:
    server.start()
    chat = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/chat/completions", body, kind)
    own = [f"http://127.0.0.1:{server.port}/{path}" for path in ("docs", "metrics")]
    statuses = [urllib.request.urlopen(request).status for request in (chat, *own)]
print("answers:", *statuses, flush=True)
"""
BARE_ONNXRUNTIME = """
import numpy, onnxruntime
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": numpy.ones(1, numpy.float32)})
"""
BARE_GENAI = """
import onnxruntime_genai
try:
    onnxruntime_genai.Model("nothing is here")
except RuntimeError:
    pass
"""
BARE = {"onnxruntime": BARE_ONNXRUNTIME, "onnxruntime_genai": BARE_GENAI}
REACHING_OUT = """
import ctypes, socket
from pathlib import Path
for attempt in (
    lambda: socket.getaddrinfo("python.invalid", 443),
    lambda: socket.create_connection(("192.0.2.1", 443), timeout=5),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 53)),
):
    try:
        attempt()
    except OSError:
        pass
ctypes.CDLL(None).gethostbyname(b"library.invalid")
(Path.home() / "deviceid").write_text("1")
"""


@pytest.fixture(scope="module")
def watcher(tmp_path_factory) -> Watcher:
    return Watcher(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.new("RGB", (64, 64), "orange").save(path)
    return path


def assert_quiet(seen: Watched, work: Path) -> None:
    assert seen.status == 0, seen.output[-3000:]
    assert seen.reached == []
    assert [path for path in seen.left if "phantom-edge" not in path.parts] == []
    inside = (work, work.with_name("tmp"), work.with_name("cache") / "phantom-edge")
    assert [path for path in seen.written if not any(path.is_relative_to(each) for each in inside)] == []


def test_the_watcher_sees_look_ups_connections_and_files(watcher):
    seen = watcher.run("reaching", ["-c", REACHING_OUT])
    assert seen.status == 0, seen.output
    assert seen.reached == [
        "lookup python.invalid", "connect 192.0.2.1", "send 192.0.2.2", "lookup library.invalid",
    ]  # fmt: skip
    assert [path.name for path in seen.left] == ["deviceid"]
    assert seen.left[0] in seen.written


@pytest.mark.parametrize("library", BARE)
def test_what_a_library_does_by_itself_is_seen_and_does_not_happen(watcher, library):
    reason = f"needs {library}, of a version that reports to its makers"
    spec = importlib.util.find_spec(library)
    if spec is None or not any(map(_reports, Path(str(spec.origin)).parent.rglob("*.so*"))):
        pytest.skip(reason)
    bare = watcher.run(library, ["-c", BARE[library]])
    assert bare.status == 0, bare.output
    assert any("onnxruntime" in str(path) for path in bare.left)
    quiet = watcher.run(f"{library}-here", ["-c", f"import phantom_edge\n{BARE[library]}"])
    assert_quiet(quiet, watcher.folder / f"{library}-here" / "work")
    child = f"import phantom_edge, subprocess, sys\nsubprocess.run([sys.executable, '-c', {BARE[library]!r}])"
    quiet = watcher.run(f"{library}-child", ["-c", child])
    assert_quiet(quiet, watcher.folder / f"{library}-child" / "work")


def _reports(library: Path) -> bool:
    return b"ORT_DISABLE_TELEMETRY" in library.read_bytes()


def test_a_value_that_would_not_count_is_replaced(watcher):
    """ONNX Runtime takes ``1`` alone for a yes."""
    code = f"import phantom_edge\n{BARE['onnxruntime']}"
    seen = watcher.run("value", ["-c", code], ORT_DISABLE_TELEMETRY="true")
    assert_quiet(seen, watcher.folder / "value" / "work")


def test_these_tests_are_quiet_themselves():
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["torch", "desktop", "android", "ios", "coreai", "snapdragon"])
def test_no_runtime_reaches_out(watcher, picture, tiny_dirs, target):
    if target == "coreai" and importlib.util.find_spec("coreai_torch") is None:
        pytest.skip("needs coreai-torch")
    if target == "snapdragon" and importlib.util.find_spec("onnxruntime_qnn") is None:
        pytest.skip("needs onnxruntime-qnn")
    arguments = ["-c", EXPORT_AND_ASK, target, str(tiny_dirs["qwen2"]), str(picture)]
    seen = watcher.run(target, arguments)
    assert_quiet(seen, watcher.folder / target / "work")
    assert "answer:" in seen.output


@pytest.mark.slow
def test_the_server_reaches_nobody(watcher):
    pytest.importorskip("fastapi")
    seen = watcher.run("serve", ["-c", SERVE_AND_ASK])
    assert_quiet(seen, watcher.folder / "serve" / "work")
    assert "answers: 200 200 200" in seen.output
