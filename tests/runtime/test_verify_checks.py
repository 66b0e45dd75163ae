"""The parts of a verification by themselves: what is decided, and what is left undecided."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from faults import correct_hashes, edit_json

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.report.report import Check, Report
from phantom_edge.runtime.verify import FILES, UNROUNDED, verify
from phantom_edge.runtime.verify.phantom import Distances, judge
from phantom_edge.runtime.verify.source import differing_pieces
from phantom_edge.text.tokenizer import Tokenizer

CONTEXT = 136


@pytest.fixture(scope="module")
def bundle(tiny_dirs, tmp_path_factory):
    """A right bundle whose context is no multiple of anything."""
    output = tmp_path_factory.mktemp("checks") / "web"
    request = ExportRequest(
        "web",
        str(tiny_dirs["qwen2"]),
        output=output,
        quantize=QuantizeOptions("int8"),
        context=CONTEXT,
        verify=False,
    )
    return export(request).bundle


@pytest.mark.parametrize(
    ("distances", "passed"),
    [
        (Distances(to_phantom=0.01, to_none=1.0, rounding=0.0, effect=1.0), True),
        (Distances(to_phantom=1.0, to_none=0.01, rounding=0.0, effect=1.0), False),
        (Distances(to_phantom=0.8, to_none=1.0, rounding=0.8, effect=1.0), None),
        (Distances(to_phantom=1.0, to_none=0.6, rounding=0.1, effect=1.0), False),
        (Distances(to_phantom=0.0, to_none=0.0, rounding=0.0, effect=0.0), False),
    ],
)
def test_the_phantom_is_there_or_not_or_undecided(distances, passed):
    """Rounding that moves logits as much as the phantom does leaves the question open."""
    check = judge([distances])
    assert check.passed is passed
    assert check.outcome == {True: "ok", False: "failed", None: "undecided"}[passed]
    assert ("undecided" in check.detail) == (passed is None)


def test_a_verdict_counts_what_was_decided():
    ok, failed = Check.at_most("one", 0, 1, "why"), Check.at_most("two", 2, 1, "why")
    undecided, informs = Check("three", 2, 1, None), Check("four", 5)
    report = Report("verify", "b", groups={"q": [ok, undecided, informs]})
    assert (report.ok, report.verdict) == (True, "Right: 1 checks passed, 1 undecided")
    report.groups["r"] = [failed]
    assert (report.ok, report.verdict) == (False, "FAILED: 1 of 3 checks: two")
    assert json.loads(report.to_json())["verdict"] == report.verdict
    assert Report("inspect", "b", groups={"q": [informs]}).verdict == ""


def test_the_probe_reaches_the_last_position(bundle):
    rows = {c.name: c for c in verify(bundle, tokens=4).groups[UNROUNDED]}
    for name in ("prefill of the whole context", "decode at the end of the context"):
        assert rows[name].passed
        assert rows[name].detail == f"{CONTEXT} of {CONTEXT} positions"


def test_a_picture_whose_rounding_drowns_the_phantom_is_no_failure(bundle):
    """Where the web's int8 activations move logits more than the phantom does, the unrounded run decides."""
    noise = np.random.default_rng(0).integers(0, 255, (97, 61, 3), dtype=np.uint8)
    from PIL import Image

    report = verify(bundle, tokens=4, image=Image.fromarray(noise), question="What colour is it?")
    assert report.ok, report.verdict
    assert [c.passed for c in report.groups[UNROUNDED] if "phantom" in c.name] == [True]
    assert any(c.name == "golden outputs" and c.value == "not run" for c in report.groups[FILES])


def test_a_bundle_of_other_versions_is_not_condemned_for_its_form(bundle, tmp_path):
    """Another library may write the same graph otherwise; what the graph computes is still judged."""
    import shutil

    folder = shutil.copytree(bundle.folder, tmp_path / "b")
    (folder / "generation_config.json").write_text("{}\n")
    correct_hashes(folder)
    name = "files beside the graphs that differ"
    assert name in {c.name for c in verify(Bundle.open(folder), tokens=4).failures}
    edit_json(folder / MANIFEST, lambda m: m["producer"].update(onnx="1.0"))
    report = verify(Bundle.open(folder), tokens=4)
    (check,) = (c for c in report.groups[FILES] if c.name == name)
    assert report.ok
    assert check.outcome == "undecided"
    assert "made with onnx 1.0" in check.detail


def test_every_piece_of_a_vocabulary_is_compared(tiny_dirs, tmp_path):
    own = Pretrained.open(tiny_dirs["qwen2"]).tokenizer
    data = json.loads(own.to_json())
    assert differing_pieces(own, own) == []
    merges = data["model"]["merges"]
    lost = merges.pop(len(merges) // 2)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    pieces = differing_pieces(Tokenizer.from_file(path), own)
    assert own.token_id("".join(lost)) in pieces


def test_a_source_that_is_at_hand_decides_and_not_the_bundle(bundle, tmp_path):
    """A prompt that is wrong in the manifest alone changes no question that is put to the artifact."""
    manifest = replace(
        bundle.manifest, prompt=replace(bundle.manifest.prompt, user_start="<|im_start|>user ")
    )
    report = verify(Bundle(bundle.folder, manifest), tokens=4)
    assert [c.name for c in report.failures] == ["manifest fields that differ"]
    assert "prompt" in report.failures[0].detail
