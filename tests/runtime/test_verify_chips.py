"""Decoders that were compiled for a chip: equal files prove something, others are undecided and not right."""

from __future__ import annotations

import pytest
from faults import correct_hashes
from qnn_bundles import emulator, made

from phantom_edge.bundle.folder import Bundle
from phantom_edge.runtime.verify import chips, verify

pytestmark = [emulator, pytest.mark.slow]


def test_a_decoder_that_is_not_written_again_is_undecided(tiny_dirs, tmp_path):
    folder = made(tiny_dirs["qwen2"], tmp_path / "bundle", parts="all", soc=("sm8650",))
    assert outcome(folder) is True
    path = folder / "npu/sm8650/prefill_qnn.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    correct_hashes(folder)
    assert outcome(folder) is None
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"SM8650": {', '"SM9999": {'))
    (check,) = [c for c in checks(folder) if c.passed is False]
    assert check.name == "chips that files were compiled for"


def outcome(folder):
    """What verify says of the compiled decoders."""
    rows = checks(folder)
    assert not [check for check in rows if check.passed is False]
    (check,) = [check for check in rows if check.name == chips.DECODERS]
    return check.passed


def checks(folder):
    report = verify(Bundle.open(folder), tokens=1)
    return [check for rows in report.groups.values() for check in rows]
