"""``vocabulary.json``: the ids that a bundle's rows have in its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_manifest import sample_manifest

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import Manifest, TrimmedVocabulary
from phantom_edge.bundle.vocabulary import KEPT, read_kept, write_kept
from phantom_edge.errors import InputError


def bundle(folder: Path, kept: int | None) -> Bundle:
    entry = None if kept is None else TrimmedVocabulary(1000, kept, ("en",))
    return Bundle(folder, sample_manifest(vocabulary=entry))


@pytest.mark.parametrize("ids", [[0], [0, 1, 2], [5, 7, 8, 9, 30], list(range(0, 400, 3))])
def test_ids_come_back(tmp_path, ids):
    write_kept(tmp_path, ids)
    assert read_kept(bundle(tmp_path, len(ids))) == tuple(ids)
    assert read_kept(bundle(tmp_path, None)) is None


def test_runs_of_ids_are_pairs(tmp_path):
    write_kept(tmp_path, [0, 1, 2, 7])
    assert json.loads((tmp_path / KEPT).read_text()) == {"kept": [[0, 2], [7, 7]]}


WRONG = {
    "{}": "no list of ascending ranges",
    '{"kept": 5}': "no list of ascending ranges",
    '{"kept": [[0, 2], [2, 3]]}': "no list of ascending ranges",
    '{"kept": [[3, 2]]}': "no list of ascending ranges",
    '{"kept": [[-1, 2]]}': "no list of ascending ranges",
    '{"kept": [[0, 99999999]]}': "no list of ascending ranges",
    '{"kept": [[0, 1.5]]}': "no list of ascending ranges",
    '{"kept": [[false, true]]}': "no list of ascending ranges",
    '{"kept": [["0", "1"]]}': "no list of ascending ranges",
    '{"kept": [[0, 1, 2]]}': "no list of ascending ranges",
    '{"kept": [[0, 1]]}': "holds 2 ids, the manifest says 3",
    "[": "not readable as JSON",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_damaged_list_is_refused(tmp_path, text, message):
    (tmp_path / KEPT).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_kept(bundle(tmp_path, 3))
    assert str(tmp_path / KEPT) in str(caught.value)


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="not found"):
        read_kept(bundle(tmp_path, 3))


def test_a_manifest_whose_number_is_not_the_configs_is_refused(tmp_path):
    rows = sample_manifest().config.decoder.vocab_size
    for kept, right in ((rows, True), (rows - 1, False)):
        manifest = sample_manifest(vocabulary=TrimmedVocabulary(1000, kept, ("en", "notes.txt")))
        (tmp_path / "manifest.json").write_text(manifest.to_json())
        if right:
            assert Manifest.read(tmp_path / "manifest.json") == manifest
        else:
            with pytest.raises(InputError, match=rf"vocabulary.kept is {kept}, and config makes it {rows}"):
                Manifest.read(tmp_path / "manifest.json")
