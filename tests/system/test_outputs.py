"""The rule for outputs: checked before any work, over nothing of the user's, in nothing of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from phantom_edge.errors import InputError, UnwritableError
from phantom_edge.report.report import Report
from phantom_edge.system import outputs
from phantom_edge.system.outputs import (
    PAGE,
    QUANTIZATION,
    RECORDS,
    check_bundle_folder,
    check_distinct,
    check_file,
    check_new_folder,
    default_folder,
)

MANIFEST = json.dumps({"schema": 2, "format": "onnx", "files": {"a.onnx": {}}})


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text(MANIFEST)
    (folder / "a.onnx").touch()
    return folder


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    return folder


CHECKS = {
    "page": lambda path: check_file(path, PAGE),
    "records": lambda path: check_file(path, RECORDS),
    "quantization": lambda path: check_file(path, QUANTIZATION),
    "bundle": check_bundle_folder,
    "project": check_new_folder,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_nothing_is_written_into_a_bundle_or_a_checkpoint(check, bundle, checkpoint):
    for folder in (bundle, checkpoint):
        for place in (folder / "new", folder / "sub" / "new"):
            (folder / "sub").mkdir(exist_ok=True)
            with pytest.raises(InputError, match="choose a place outside it"):
                check(place)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_another_program_s_manifest_is_no_bundle(check, tmp_path):
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3, "name": "an extension"}')
    (tmp_path / "config.json").write_text("{}")
    check(tmp_path / "new")


def test_only_an_earlier_bundle_is_replaced(tmp_path, bundle, checkpoint):
    check_bundle_folder(bundle)
    (bundle / ".DS_Store").touch()
    check_bundle_folder(bundle)
    (bundle / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt beside what was exported"):
        check_bundle_folder(bundle)
    extension = tmp_path / "extension"
    extension.mkdir()
    (extension / "manifest.json").write_text("{}")
    for folder in (checkpoint, extension):
        with pytest.raises(InputError, match="not a bundle"):
            check_bundle_folder(folder)


def test_a_project_takes_a_new_or_empty_folder(tmp_path, bundle):
    check_new_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_new_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="is a bundle"):
        check_new_folder(bundle)


def test_files_are_replaced_by_what_is_in_them(tmp_path):
    ours = {PAGE: tmp_path / "ours.html", RECORDS: tmp_path / "ours.jsonl"}
    ours[PAGE].write_text(Report("kind", "title").to_html())
    ours[RECORDS].write_text('{"model": "m", "id": "1", "question": "?", "reply": "!"}\n')
    ours[QUANTIZATION] = tmp_path / "ours.safetensors"
    save_file({"a": torch.zeros(1)}, ours[QUANTIZATION], {"phantom_edge": "{}"})
    theirs = [tmp_path / "t.html", tmp_path / "t.safetensors", tmp_path / "t.jsonl", tmp_path / "t.bin"]
    theirs[0].write_text("<!doctype html><title>mine</title>")
    save_file({"a": torch.zeros(1)}, theirs[1], {"format": "pt"})
    theirs[2].write_text('{"image": "a.png"}\n')
    theirs[3].write_bytes(os.urandom(100))
    (tmp_path / "empty").touch()
    for kind, path in ours.items():
        check_file(path, kind)
        check_file(tmp_path / "empty", kind)
        for other in {*theirs, *ours.values()} - {path}:
            with pytest.raises(InputError, match=f"is not {kind.title}"):
                check_file(other, kind)


def test_inputs_and_other_outputs_stay(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"model": "m", "id": "1", "question": "?", "reply": "!"}\n')
    with pytest.raises(InputError, match="is read by this command"):
        check_file(path, RECORDS, ["other", None, str(path)])
    with pytest.raises(InputError, match="the same name"):
        check_distinct([path, None, tmp_path / "sub" / ".." / "r.jsonl"])
    check_distinct([None, None, path])


def test_links_and_devices_are_refused(tmp_path, bundle):
    (tmp_path / "link").symlink_to(bundle)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name in ("link", "dangling"):
        with pytest.raises(InputError, match="file or a link"):
            check_bundle_folder(tmp_path / name)
        with pytest.raises(InputError, match="no ordinary file"):
            check_file(tmp_path / name, PAGE)
    with pytest.raises(InputError, match="no ordinary file"):
        check_file(os.devnull, PAGE)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_places_where_nothing_can_be_are_one_line(check, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / ("x" * 300), tmp_path / "file" / "x", Path(f"{tmp_path}/a\0b")):
        with pytest.raises(InputError) as refused:
            check(path)
        assert len(str(refused.value)) <= 300


def test_a_mount_point_and_the_present_folder_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="mount point"):
        check_bundle_folder("/dev")
    table = tmp_path / "mountinfo"
    table.write_text(rf"36 35 98:0 / {tmp_path}/a\040b rw - ext3 /dev/root rw" + "\n")
    monkeypatch.setattr(outputs, "MOUNTS", table)
    with pytest.raises(InputError, match="mount point"):
        check_bundle_folder(tmp_path / "a b")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (".", "..", tmp_path):
        with pytest.raises(InputError, match="you are in this folder"):
            check_bundle_folder(path)


def test_a_full_disk_is_noticed_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "has_room", lambda folder: False)
    with pytest.raises(UnwritableError, match="the disk is full"):
        check_bundle_folder(tmp_path / "b")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (".", "here"),
        ("./", "here"),
        ("..", "up"),
        ("BK-Lee/Phantom-7B", "Phantom-7B"),
        ("a/b/", "b"),
        ("/", "phantom"),
    ],
)
def test_a_bundle_is_named_after_its_model(model, name, tmp_path, monkeypatch):
    (tmp_path / "up" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "up" / "here")
    assert default_folder(model, "web") == Path(f"{name}-web")
