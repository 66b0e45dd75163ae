"""The model card: metadata that the hub reads, words that the manifest bears out, and nothing made up."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from model_hub import Repository, model_hub, point_at
from sample_manifest import sample_manifest

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import FileEntry, Npu, TrimmedVocabulary
from phantom_edge.checkpoint.origin import Origin
from phantom_edge.errors import InputError
from phantom_edge.publish.card import MARK, Evaluation, model_card
from phantom_edge.publish.licence import Licence, licence_of
from phantom_edge.report.report import Check
from phantom_edge.runtime.verify import QUALITY
from phantom_edge.system.files import file_sha256

NAME = "someone/phantom-tiny-web"
ENTRY = FileEntry(1_500_000, "1" * 64)


def bundle(folder="phantom-tiny-web", **changes) -> Bundle:
    return Bundle(Path(folder), sample_manifest(**changes))


def from_hub(**fields) -> object:
    source = replace(sample_manifest().source, name="BK-Lee/Phantom-0.5B")
    return replace(source, origin=Origin("hub", "BK-Lee/Phantom-0.5B", "main", "c" * 40), **fields)


def metadata(card: str) -> dict[str, object]:
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def test_the_metadata_is_what_the_hub_reads():
    licence = Licence.of_card(
        {"license": "other", "license_name": "My licence", "license_link": "https://a.b/c"}, ""
    )
    card = model_card(bundle(source=from_hub()), NAME, licence)
    assert metadata(card) == {
        "library_name": "phantom-edge",
        "pipeline_tag": "image-text-to-text",
        "base_model": "BK-Lee/Phantom-0.5B",
        "base_model_relation": "quantized",
        "license": "other",
        "license_name": "My licence",
        "license_link": "https://a.b/c",
        "tags": ["phantom", "on-device", "onnx", "web", "int4"],
    }
    data = ModelCard(card).data
    assert (data.base_model, data.license, data.pipeline_tag) == (
        "BK-Lee/Phantom-0.5B",
        "other",
        "image-text-to-text",
    )
    assert f"[BK-Lee/Phantom-0.5B](https://huggingface.co/BK-Lee/Phantom-0.5B), commit `{'c' * 40}`" in card


RUNTIMES = {
    "phantom-edge run": {
        "onnx",
        "onnx-webgpu",
        "onnx-qnn",
        "executorch",
        "executorch-coreml",
        "coreml",
        "coreai",
    },
    "og.Model": {"onnx"},
    "from_pretrained": {"onnx", "onnx-webgpu"},
    "MultimodalRunner(": {"executorch", "executorch-coreml"},
    "PhantomEdge.load": {"executorch"},
    "app android --bundle": {"executorch"},
    "PhantomSession.load": {"coreml"},
    "app ios": {"coreml"},
    "app android --npu": {"onnx-qnn"},
    "app web": {"onnx", "onnx-webgpu"},
}
PACKAGES = {"onnx": ("genai_config.json", "config.json"), "onnx-webgpu": ("config.json",)}


@pytest.mark.parametrize("format", sorted(RUNTIMES["phantom-edge run"]))
def test_it_says_how_to_run_it_where_it_runs(format):
    npu = (
        Npu({"vision_encoder": "npu/v.onnx"}, "uint16", None, (75,), {}, {}) if format == "onnx-qnn" else None
    )
    files = dict.fromkeys(("tokenizer.json", *PACKAGES.get(format, ())), ENTRY)
    browser = format in ("onnx", "onnx-webgpu")
    card = model_card(bundle(format=format, npu=npu, files=files, browser=browser), NAME)
    assert {words for words in RUNTIMES if words in card} == {w for w, f in RUNTIMES.items() if format in f}
    assert metadata(card)["tags"]
    assert "{{" not in card
    assert "\n\n\n\n" not in card


def test_what_was_measured_is_told_and_no_more():
    quality = (
        Check("KL divergence, mean (nats)", 0.0123, 0.5, True),
        Check("top-1 agreement", 0.98, detail="over 9"),
    )
    groups = {
        "Is it right?": (Check("a", 0, 0, True), Check("b", 0, 0, True), Check("c", 1.0, 0.5)),
        QUALITY: quality,
    }
    verification = replace(sample_manifest().verification, groups=groups)
    card = model_card(bundle(verification=verification, files={"report.html": ENTRY}), NAME)
    assert "| Is it right? | 2 | 0 | 1 |" in card
    assert "What it knows" not in card
    assert "**What it knows**, in its own words: Shapes \\| \\*signs\\*" in model_card(
        bundle(knows="Shapes | *signs*"), NAME
    )
    assert "| KL divergence, mean (nats) | 0.0123 |  |" in card
    assert "| top-1 agreement | 0.98 | over 9 |" in card
    assert "`report.html` has every check" in card
    assert "no check failed" in card
    assert "None was measured for this card." in card
    assert "| `report.html` | 1.5 MB |" in card
    assert "chosen by gptq over calibration samples" in card
    assert "Not known: no card of the source names one." in card
    assert "license" not in metadata(card)
    assert "**It was not verified**" in model_card(bundle(verification=None), NAME)
    failed = replace(verification, ok=False)
    assert "**It was verified, and checks failed**" in model_card(bundle(verification=failed), NAME)


def test_a_trimmed_vocabulary_and_many_files_are_told():
    card = model_card(bundle(vocabulary=TrimmedVocabulary(151674, 512, ("en", "texts.txt"))), NAME)
    assert "| vocabulary | 512 rows of 151,674, measured by en, texts.txt |" in card
    card = model_card(bundle(files={f"f{n}": ENTRY for n in range(75)}), NAME)
    assert "| and 15 smaller ones | |" in card


def test_no_text_of_a_manifest_is_markup():
    evil = 'x | <script>alert(1)</script> [a](javascript:b) `c` \n---\nlicense: mit\n<!-- "'
    changes = {"target": evil, "notes": (evil,), "fallbacks": {evil: evil}, "files": {"a|b`c": ENTRY}}
    changes |= {"producer": {"phantom_edge": evil}, "source": replace(sample_manifest().source, name=evil)}
    card = model_card(bundle(**changes, format=evil), NAME)
    words = re.sub(r"`[^`\n]*`", "", card.replace("\\`", ""))  # what is code is shown as it is
    assert "<script" not in words
    assert not re.search(r"(?<!\\)\]\(javascript", words)
    assert words.count("<!--") == 1
    assert "license" not in metadata(card)
    rows = [line for line in card.splitlines() if line.startswith("|") and "`a" in line]
    assert rows == ["| `a\\|b'c` | 1.5 MB |"]


def test_an_id_that_is_none_is_no_base_model():
    source = replace(from_hub(), origin=Origin("hub", "a/b](https://evil) x", None, "c" * 40))
    card = model_card(bundle(source=source), NAME)
    assert "base_model" not in metadata(card)
    assert "](https://evil)" not in card


# --- the licence -----------------------------------------------------------------------------------------


def test_the_embedded_models_licence_is_known():
    source = replace(sample_manifest().source, origin=Origin("embedded", "phantom-nano"))
    assert licence_of(sample_manifest(source=source)).id == "apache-2.0"


CARD = '---\nlicense: "llama3"\nlicense_link: https://a.org/l\ntags:\n- license: mit\n---\n# license: mit\n'


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (CARD, Licence("llama3", "as the card in the source's folder says", "", "https://a.org/l")),
        ("# Title\nlicense: mit\n", None),
        ("---\nlicense:\n---\n", None),
        ("---\nlicense: [mit, x]\n---\n", None),
        ("---\nlicense: 'a b <c>'\n---\n", None),
        (None, None),
    ],
)
def test_a_folders_card_is_believed_while_it_is_the_same_checkpoint(tmp_path, card, expected):
    (tmp_path / "config.json").write_text("{}")
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    hashes = {"config.json": file_sha256(tmp_path / "config.json")}
    source = replace(sample_manifest().source, sha256=hashes, origin=Origin.of_folder(tmp_path))
    assert licence_of(sample_manifest(source=source)) == expected
    (tmp_path / "config.json").write_text("[]")
    assert licence_of(sample_manifest(source=source)) is None


def test_the_hub_is_asked_for_the_licence(tmp_path, monkeypatch):
    manifest = sample_manifest(source=replace(from_hub(), origin=Origin("hub", "BK-Lee/Phantom-0.5B")))
    with model_hub() as hub:
        point_at(monkeypatch, hub, tmp_path)
        assert licence_of(manifest) is None  # there is no such model
        hub.repositories["BK-Lee/Phantom-0.5B"] = repository = Repository()
        repository.commit({"README.md": b"---\nlicense: mit\n---\n"})
        assert licence_of(manifest) == Licence("mit", "as the card of BK-Lee/Phantom-0.5B says")


# --- accuracy --------------------------------------------------------------------------------------------


def write(path: Path, rows) -> Path:
    lines = [
        {
            "model": m,
            "id": i,
            "task": t,
            "question": "?",
            "answer": "a",
            "reply": "r",
            "correct": c,
            "picture": i,
        }
        for m, i, t, c in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_records_become_a_table(tmp_path):
    rows = [("original", f"{t}{n}", t, True) for t in ("colour", "count") for n in range(4)]
    rows += [("phantom-tiny-web", f"{t}{n}", t, n > 0) for t in ("colour", "count") for n in range(4)]
    evaluation = Evaluation.read(write(tmp_path / "r.jsonl", rows), bundle())
    card = model_card(bundle(), NAME, None, evaluation)
    lines = card.splitlines()
    start = lines.index("| task | questions | phantom-tiny-web | original |")
    assert lines[start + 1] == "|---|---|---|---|"
    assert re.fullmatch(r"\| all \| 8 \| 75\.0 % \([\d.]+ to [\d.]+\) \| 100\.0 % .*", lines[start + 2])
    assert [line.split(" | ")[0] for line in lines[start + 3 : start + 5]] == ["| colour", "| count"]
    assert lines[start + 5] == ""


def test_records_that_say_nothing_of_it(tmp_path):
    def refusal(rows):
        with pytest.raises(InputError) as caught:
            Evaluation.read(write(tmp_path / "r.jsonl", rows), bundle())
        return str(caught.value)

    assert "holds records of ['other'], none of phantom-tiny-web" in refusal([("other", "1", "t", True)])
    assert "holds no record of an evaluation" in refusal([])
    assert "line 1: no record of an evaluation" in refusal([("phantom-tiny-web", "1", "t", "yes")])
    assert "ask both the same" in refusal([("phantom-tiny-web", "1", "t", True), ("other", "2", "t", True)])


def test_the_last_line_is_its_own_hash():
    import hashlib

    text, _, rest = model_card(bundle(), NAME).partition(MARK)
    assert rest == f"{hashlib.sha256(text.encode()).hexdigest()} -->\n"
