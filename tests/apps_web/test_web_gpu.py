"""The WebGPU path on a software adapter: right answers where it computes rightly, and none where it does
not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from one_picture import OnePicture, picture_of
from web_serving import served

from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.session import Session

TIE = 0.01  # of the logits' rms: both compute in fp32, and only the order of summation differs


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """In 32 bits, because a software adapter has no others."""
    output = tmp_path_factory.mktemp("webgpu") / "bundle"
    return export(
        ExportRequest(target="webgpu", output=output, quantize=QuantizeOptions("fp32"), verify=False)
    ).bundle.folder


def test_answers_on_webgpu_are_the_python_sessions(check, app, bundle, video):
    with served({"": app, "bundle": bundle}) as server:
        seen = check("webgpu", url=server.address, video=video, subgroups=False)
    if not seen["adapter"]:
        pytest.skip("needs WebGPU (this Chromium has none without a GPU)")
    assert seen["notice"] == ""
    assert seen["device"] == "WebGPU (this browser has WebGPU)"
    picture = OnePicture(Session.open(bundle), picture_of(seen["frame"]))
    answer = seen["answer"]
    expected, gaps = picture.follow(answer["question"], answer["ids"], answer["stop"])
    assert expected == answer["text"] or max(gaps) <= TIE
    assert [
        line for line in seen["complaints"] if "blocked by Playwright" not in line
    ] == []  # the service worker is


def test_a_gpu_that_computes_wrongly_gives_way_to_the_cpu(check, app, bundle, video):
    with served({"": app, "bundle": bundle}) as server:
        seen = check("webgpu", url=server.address, video=video, subgroups=True)
    if not seen["adapter"]:
        pytest.skip("needs WebGPU (this Chromium has none without a GPU)")
    assert seen["notice"] == ""
    if seen["device"].startswith("WebGPU"):
        pytest.skip("needs an adapter on which subgroups compute wrongly")
    assert "WebGPU does not run it rightly here (Image tokens: " in seen["hint"]
    assert seen["device"].startswith("WASM, ")
    picture = OnePicture(Session.open(bundle), picture_of(seen["frame"]))
    expected, gaps = picture.follow(*(seen["answer"][name] for name in ("question", "ids", "stop")))
    assert expected == seen["answer"]["text"] or max(gaps) <= TIE
