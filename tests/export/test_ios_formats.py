"""``--target ios`` in its other formats: a verified bundle that opens, verifies again and answers."""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file

from phantom_edge.bundle.folder import GOLDEN, Bundle
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import Prompt, trace_prompt
from phantom_edge.runtime.verify import verify

NEEDS = {
    "executorch": "executorch.backends.apple.coreml.executorchcoreml",
    "coreai": "coreai_torch",
}


@pytest.mark.parametrize(("asked", "written"), [("executorch", "executorch-coreml"), ("coreai", "coreai")])
def test_an_ios_bundle_of_another_format_is_verified_and_answers(asked, written, tmp_path):
    pytest.importorskip(NEEDS[asked], reason=f"needs {NEEDS[asked]}")
    result = export(ExportRequest("ios", format=asked, output=tmp_path / "bundle", context=256, verify=False))
    bundle = Bundle.open(result.bundle.folder)
    assert bundle.manifest.format == written
    report = verify(bundle, tokens=8)
    assert report.ok, report.failures
    golden, session = load_file(bundle.folder / GOLDEN), Session.of_bundle(bundle)
    prompt = Prompt("golden", golden["input_ids"][0].tolist(), golden["pixel_values"])
    count = len(golden["generated_ids"])
    _, tokens = trace_prompt(session.backend, prompt, session.spec.image_token_id, count)
    assert list(tokens) == golden["generated_ids"].tolist()
    assert "".join(session.chat(None).ask("What is 2+2?", max_tokens=4))
