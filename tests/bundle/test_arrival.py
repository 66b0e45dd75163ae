"""Bundles of the hub: exactly the files of the manifest, checked on arrival, fetched once, and by digest."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from model_hub import Repository, model_hub, point_at
from sample_manifest import sample_manifest

from phantom_edge.bundle.arrival import Remote, pulled, remote_bundle
from phantom_edge.bundle.folder import Bundle, finish, writing
from phantom_edge.bundle.locate import bundle_folder, locate, locate_bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.checkpoint import hub_job
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.evaluate.candidate import Candidate
from phantom_edge.runtime.inspect import inspect
from phantom_edge.runtime.session import Session

NAME = "someone/phantom-tiny-web"
FILES = {"onnx/vision_encoder.onnx": b"v" * 3000, "onnx/decoder.onnx": b"d" * 5000, "tokenizer.json": b"{}"}


def make(folder: Path, files=FILES) -> Bundle:
    with writing(folder) as partial:
        for path, data in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(data)
        finish(partial, sample_manifest())
    return Bundle.open(folder)


def content(folder: Path) -> dict[str, bytes]:
    """Files of a folder by path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one bundle, beside which other files lie, and empty caches."""
    with model_hub() as running:
        point_at(monkeypatch, running, tmp_path / "home")
        running.repositories[NAME] = repository = Repository()
        repository.commit({**content(make(tmp_path / "made").folder), **HUBS})
        yield running


HUBS = {"README.md": b"# A card\n", ".gitattributes": b"*.onnx filter=lfs\n", "picture.png": b"p" * 2000}


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    line = str(caught.value)
    assert line.startswith(f"{NAME}: ")
    assert len(line) < 300
    return line


def pull(output: Path, revision=None):
    return pulled(remote_bundle(NAME, revision), output)


def test_exactly_the_files_of_the_manifest_come_and_only_once(hub):
    steps = []
    bundle = locate(NAME, step=steps.append)
    assert {path: bundle.folder.joinpath(path).read_bytes() for path in FILES} == FILES
    assert bundle.folder.name == "phantom-tiny-web"
    assert content(bundle.folder).keys() == {*FILES, MANIFEST}
    assert hub.sent.keys() == {*FILES, MANIFEST}
    assert steps[0] == f"asking the hub for {NAME}"
    assert any(step.startswith(f"downloading {NAME}: ") for step in steps)
    hub.forget()
    assert locate(NAME).folder == bundle.folder
    assert bundle_folder(NAME) == str(bundle.folder)
    assert locate_bundle(NAME).manifest == bundle.manifest
    assert not hub.sent
    commit = hub.repositories[NAME].branches["main"]
    hub.forget()
    assert locate(NAME, revision=commit).folder == bundle.folder
    assert not hub.requests  # what a commit names never changes


def test_without_an_answer_the_cache_helps(hub, monkeypatch, caplog):
    bundle = locate(NAME)
    hub.refuse["/api/models"] = 503
    assert locate(NAME).folder == bundle.folder
    assert "answers 503; try again later; using the copy in the local cache" in caplog.text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert locate(NAME).folder == bundle.folder
    (bundle.folder / "tokenizer.json").write_bytes(
        b"[]"
    )  # a damaged cache is fetched anew, or the reason said
    assert "HF_HUB_OFFLINE" in refusal(locate, NAME)


def test_what_is_damaged_in_the_cache_comes_again(hub):
    bundle = locate(NAME)
    (bundle.folder / "onnx/decoder.onnx").write_bytes(b"x" * 5000)
    hub.forget()
    assert content(locate(NAME).folder) == content(bundle.folder)
    assert "onnx/decoder.onnx" in hub.sent


def test_a_checkpoint_is_one_as_before(hub, tiny_dirs):
    hub.repositories["someone/checkpoint"] = repository = Repository()
    commit = repository.commit(content(tiny_dirs["qwen2"]))
    source = locate("someone/checkpoint")
    assert isinstance(source, Pretrained)
    assert (source.origin.revision, source.origin.commit) == (None, commit)
    with pytest.raises(InputError, match="is a checkpoint, no bundle"):
        locate_bundle("someone/checkpoint")
    with pytest.raises(InputError, match=f"^{NAME}: is a bundle, which is exported already"):
        Pretrained.open(NAME)
    assert isinstance(locate(tiny_dirs["qwen2"]), Pretrained)


def test_another_programs_manifest_makes_no_bundle(hub, tiny_dirs):
    hub.repositories["someone/checkpoint"] = repository = Repository()
    repository.commit({**content(tiny_dirs["qwen2"]), MANIFEST: b'{"name": "an extension"}'})
    assert isinstance(locate("someone/checkpoint"), Pretrained)


def changed(hub, **fields):
    """The hub's manifest with other values."""
    repository = hub.repositories[NAME]
    files = dict(repository.files())
    files[MANIFEST] = json.dumps({**json.loads(files[MANIFEST]), **fields}).encode()
    repository.commit(files)


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "C:evil", "a//b", "./a", "x\ny", "a" * 401]
)
def test_paths_of_a_manifest_stay_inside(tmp_path, path):
    values = json.loads((make(tmp_path / "b").folder / MANIFEST).read_text())
    values["files"][path] = {"bytes": 1, "sha256": "0" * 64}
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(values))
    assert "manifest.json: files" in refusal(Remote.of, NAME, tmp_path / "b")


def test_a_path_that_leads_out_ends_a_pull(hub, tmp_path):
    changed(hub, files={"../evil": {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}})
    hub.repositories[NAME].commit({**hub.repositories[NAME].files(), "../evil": b"x"})
    assert "manifest.json: files" in refusal(locate, NAME)
    assert "manifest.json: files" in refusal(pull, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "made"]
    assert not list(tmp_path.rglob("evil"))


def test_a_manifest_that_is_wrong_is_named(hub, tmp_path):
    changed(hub, schema=99)
    assert "schema 99 is newer" in refusal(locate, NAME)


def test_a_tampered_file_is_refused_on_arrival(hub, tmp_path):
    hub.tampered["onnx/decoder.onnx"] = b"D" * 5000
    line = refusal(pull, tmp_path / "out")
    assert "onnx/decoder.onnx that came is not the one of the manifest (SHA-256 differs)" in line
    assert not (tmp_path / "out").exists()
    hub.tampered.clear()
    hub.forget()
    pull(tmp_path / "out")
    assert "onnx/vision_encoder.onnx" not in hub.sent  # what was right is kept


def test_a_file_of_another_size_is_refused_before_it_comes(hub, tmp_path):
    hub.tampered["onnx/decoder.onnx"] = b"D" * 5001
    assert "is not of the size that the bundle's manifest says" in refusal(pull, tmp_path / "out")
    assert "onnx/decoder.onnx" not in hub.sent


def test_no_more_comes_than_the_manifest_says(hub, tmp_path):
    """A server that says one size and sends another fills no disk."""
    hub.longer["onnx/decoder.onnx"] = b"D" * (30 << 20)
    line = refusal(pull, tmp_path / "out")
    assert "it sends more bytes than the bundle's manifest says" in line
    arrived = [path.stat().st_size for path in tmp_path.rglob(".arriving/*")]
    assert max(arrived) <= 5000


def test_a_file_that_the_hub_lacks(hub, tmp_path):
    files = dict(hub.repositories[NAME].files())
    del files["onnx/decoder.onnx"]
    hub.repositories[NAME].commit(files)
    assert "lacks a file that the bundle's manifest lists" in refusal(pull, tmp_path / "out")


def test_an_update_fetches_what_differs_and_swaps_whole(hub, tmp_path):
    output = tmp_path / "out"
    first = pull(output)
    assert first.fetched == {path: len(data) for path, data in FILES.items()}
    assert content(output).keys() == {*FILES, MANIFEST}
    hub.forget()
    assert pull(output).fetched == {}  # it is up to date
    assert not hub.sent
    newer = {**FILES, "onnx/decoder.onnx": b"D" * 6000, "copy.json": b"{}"}
    del newer["onnx/vision_encoder.onnx"]
    newer["onnx/renamed.onnx"] = FILES["onnx/vision_encoder.onnx"]
    hub.repositories[NAME].commit({**content(make(tmp_path / "made", newer).folder), **HUBS})
    hub.forget()
    assert pull(output).fetched == {"onnx/decoder.onnx": 6000}
    assert hub.sent.keys() == {"onnx/decoder.onnx", MANIFEST}
    assert content(output) == content(tmp_path / "made")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "made", "out"]


def test_an_earlier_version_that_is_damaged_gives_nothing_wrong(hub, tmp_path):
    pull(tmp_path / "out")
    (tmp_path / "out" / "onnx/decoder.onnx").write_bytes(b"x" * 5000)
    assert pull(tmp_path / "out").fetched == {"onnx/decoder.onnx": 5000}
    assert Bundle.open(tmp_path / "out")


def test_a_revision_is_pulled(hub, tmp_path):
    repository = hub.repositories[NAME]
    repository.commit({**content(make(tmp_path / "made", {**FILES, "a": b"a"}).folder)}, branch="v2")
    assert "a" not in pull(tmp_path / "out").bundle.manifest.files
    assert "a" in pull(tmp_path / "out", "v2").bundle.manifest.files
    assert "has no revision 'v9'" in refusal(pull, tmp_path / "out", "v9")
    assert "a" in Candidate.of(NAME, revision="v2").model.manifest.files
    assert "a" not in Candidate.of(NAME).model.manifest.files
    assert "has no revision 'v9'" in refusal(Session.open, NAME, revision="v9")
    files = {revision: inspect(NAME, revision=revision).tables for revision in (None, "v2")}
    assert "'a'" in str(files["v2"])
    assert "'a'" not in str(files[None])
    with pytest.raises(InputError, match="--revision goes with a Hugging Face id"):
        locate(tmp_path / "out", revision="v2")
    assert "a" in Bundle.open(tmp_path / "out").manifest.files


def test_nothing_of_the_users_is_replaced(hub, tmp_path):
    pull(tmp_path / "out")
    hub.repositories[NAME].commit(content(make(tmp_path / "made", {**FILES, "a": b"a"}).folder))
    (tmp_path / "out" / "README.md").write_text("my notes")
    with pytest.raises(InputError, match=r"README\.md beside what was exported"):
        pull(tmp_path / "out")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    with pytest.raises(InputError, match="holds something that is not a bundle"):
        pull(tmp_path / "notes")


def test_an_interrupted_pull_goes_on_by_the_byte(hub, tmp_path, monkeypatch):
    """It is stopped in the middle of the second file, of which the rest alone comes with the next call."""
    large = {**FILES, "onnx/vision_encoder.onnx": os.urandom(21 << 20)}
    hub.repositories[NAME].commit(content(make(tmp_path / "made", large).folder))
    hub.cut["onnx/vision_encoder.onnx"] = 15 << 20
    monkeypatch.setattr(hub_job, "SILENCE_SECONDS", 1.5)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "120")
    assert "cannot be reached (no answer for 2 s); try again" in refusal(pull, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    hub.cut.clear()
    hub.forget()
    monkeypatch.setattr(hub_job, "SILENCE_SECONDS", 90.0)
    pull(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "made")
    assert hub.sent["onnx/vision_encoder.onnx"] < 12 << 20  # the library writes 10 MiB at a time
    assert hub.ranges == [f"onnx/vision_encoder.onnx bytes={10 << 20}-"]
    assert "onnx/decoder.onnx" not in hub.sent


def test_what_the_hub_and_its_tools_add_to_a_folder_is_no_part_of_a_bundle(hub, tmp_path):
    """As `hf download --local-dir` and `git clone` leave it."""
    folder = pull(tmp_path / "out").bundle.folder
    size = Bundle.open(folder).bytes
    for name in ("README.md", ".gitattributes", ".cache/huggingface/download/x.metadata", ".git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("the hub's")
    assert Bundle.open(folder).bytes == size
    (folder / "onnx" / "README.md").write_text("not at the root")
    with pytest.raises(InputError, match=r"onnx/README\.md is not listed"):
        Bundle.open(folder)


def test_the_hubs_own_cache_gives_what_it_has(hub, tmp_path):
    code = f"import huggingface_hub; huggingface_hub.snapshot_download({NAME!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    hub.forget()
    pull(tmp_path / "out")
    assert hub.sent.keys() <= {MANIFEST}
