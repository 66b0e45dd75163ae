"""``--target ios`` in its other formats: a verified bundle that opens, verifies again and answers."""

from __future__ import annotations

import pytest

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.self_test import self_test
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.verify import verify

pytestmark = pytest.mark.slow

NEEDS = {"executorch": "executorch.backends.apple.coreml.executorchcoreml", "coreai": "coreai_torch"}


@pytest.mark.parametrize(("asked", "written"), [("executorch", "executorch-coreml"), ("coreai", "coreai")])
def test_an_ios_bundle_of_another_format_is_verified_and_answers(asked, written, tmp_path):
    pytest.importorskip(NEEDS[asked], reason=f"needs {NEEDS[asked]}")
    result = export(ExportRequest("ios", format=asked, output=tmp_path / "bundle", context=256, verify=False))
    bundle = Bundle.open(result.bundle.folder)
    assert bundle.manifest.format == written
    report = verify(bundle, tokens=8)
    assert report.ok, report.failures
    session = Session.of_bundle(bundle)
    checks = self_test(session, Golden.read(bundle.folder))
    assert all(check.passed for check in checks), checks
    assert "".join(session.chat(None).ask("What is 2+2?", max_tokens=4))
