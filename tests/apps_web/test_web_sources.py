"""The app's own unit tests, its types, its notices; and what its code shares with Python, case by case."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_vectors import sampling_cases
from PIL import Image
from tokenizers import Tokenizer as RustTokenizer

from phantom_edge.bundle.manifest import MANIFEST, SCHEMA_FILE
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.images import pixel_values
from phantom_edge.records import to_json
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.text.decoding import TextDecoder
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.text.trimmed import trimmed
from recipes.synthetic import TINY_FAMILIES, write_checkpoint

SIZES = [
    (193, 191),
    (31, 977),
    (977, 31),
    (640, 480),
    (481, 479),
    (17, 17),
    (224, 224),
    (333, 1001),
    (1280, 720),
    (3, 5),
]
TEXTS = [
    "What colour is the largest object?",
    "How many objects are there? 12, 3 or 450",
    "  two  spaces, a\ttab\nand a new line ",
    "Ist das „grün“? Ça va? Москва, 東京 🙂",
    "<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>Why?<|im_end|><|im_start|>assistant\n",
    "it's 5%, isn't it? I'll say they're 1,000.5",
    "",
]
GOLDEN_CASES = Path(__file__).resolve().parents[1] / "support" / "golden_cases.json"
FORM_CASES = GOLDEN_CASES.with_name("form_vectors.json")
CROP_CASES = GOLDEN_CASES.with_name("crop_vectors.json")
WHOLE_CASES = GOLDEN_CASES.with_name("whole_vectors.json")
CONFIG_CASES = GOLDEN_CASES.with_name("app_config_vectors.json")
CONFIDENCE_CASES = GOLDEN_CASES.with_name("confidence_vectors.json")
TRIMMED = "nano, trimmed"
FAMILIES = ("nano", TRIMMED, *TINY_FAMILIES)
CHOICES = ["red", "green", "left of it", "2", " two", "Größe", "東京 🙂", "yes, because…"]
QUESTIONS = ["Why?", "What colour is it?", "Ça va? 東京 🙂", "«so» 1,000.5%"]


@pytest.fixture(scope="module")
def pixel_cases(tmp_path_factory) -> Path:
    """Ten pictures of odd sizes: noise, which shows every wrong weight, hard edges, and scenes."""
    folder = tmp_path_factory.mktemp("pixels")
    random = np.random.default_rng(0)
    cases = []
    for n, (width, height) in enumerate(SIZES):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if n % 2:
            pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
        side = (192, 224, 448)[n % 3]
        values = pixel_values(Image.fromarray(pixels), tile_size=side, max_tiles=1)
        (folder / f"{n}.rgb").write_bytes(pixels.tobytes())
        (folder / f"{n}.f32").write_bytes(values.astype("<f4").tobytes())
        cases.append(
            {"width": width, "height": height, "side": side, "image": f"{n}.rgb", "pixels": f"{n}.f32"}
        )
    for case in cases:
        assert max(case["width"], case["height"]) >= 1
    (folder / "cases.json").write_text(json.dumps(cases))
    return folder


@pytest.fixture(scope="module")
def tokenizer_cases(tmp_path_factory) -> Path:
    """Texts, prompts and choices through the tokenizers of every decoder family and of the embedded model,
    whole and trimmed.
    """
    folder = tmp_path_factory.mktemp("tokenizers")
    families = []
    for family in FAMILIES:
        tiny = TINY_FAMILIES.get(family)
        source = Pretrained.open(tiny and write_checkpoint(folder / family, tiny))
        spec, tokenizer = PromptSpec.of_source(source, folded=True), source.tokenizer
        if family == TRIMMED:
            spec, tokenizer = _without(tokenizer, spec, "red")
        path = folder / f"{family}.json"
        tokenizer.save(path)
        families.append({"family": family, "json": str(path), **_written(path), **_case(tokenizer, spec)})
    (folder / "cases.json").write_text(json.dumps(families))
    return folder / "cases.json"


def _without(tokenizer: Tokenizer, spec: PromptSpec, piece: str) -> tuple[PromptSpec, Tokenizer]:
    """A tokenizer that lacks a piece, which gives those behind it other ids, and the prompts with these."""
    gone = tokenizer.token_id(piece)
    fewer = trimmed(tokenizer, [index for index in range(tokenizer.vocab_size) if index != gone])

    def moved(index: int) -> int:
        return index - (index > gone)

    ends = tuple(map(moved, spec.end_ids))
    first, image = moved(spec.first_id), moved(spec.image_token_id)
    return replace(spec, first_id=first, image_token_id=image, end_ids=ends), fewer


def _case(tokenizer: Tokenizer, spec: PromptSpec) -> dict:
    prompts = [spec.template.render([(question, None)], spec.tokens_per_tile) for question in QUESTIONS]
    encoded = [(text, tokenizer.encode(text)) for text in TEXTS]
    return {
        "texts": [{"text": text, "ids": ids, "decoded": tokenizer.decode(ids)} for text, ids in encoded],
        "manifest": {
            "prompt": to_json(spec.template),
            "ids": {"first": spec.first_id, "image": spec.image_token_id, "end": list(spec.end_ids)},
            "tiles": {"size": spec.tile_size, "tokens": spec.tokens_per_tile},
            "shape": {"hidden": 2, "vocabulary": tokenizer.vocab_size, "layers": 1},
            "context": 2048,
        },
        "prompts": [
            {"question": question, "ids": tokenizer.encode(prompt)}
            for question, prompt in zip(QUESTIONS, prompts, strict=True)
        ],
        "conversation": _conversation(tokenizer, spec),
        "choices": [{"text": text, "ids": _begun(tokenizer, spec, text)} for text in CHOICES],
        "control": [token for _, token in sorted(tokenizer.control_tokens.items())],
    }


def _conversation(tokenizer: Tokenizer, spec: PromptSpec) -> list[dict]:
    """Prompts of a chat, each with the turns before it: its cache holds the tokens of the answers."""
    encoder, turns, cases = PromptEncoder(spec.template, tokenizer), [], []
    ids = encoder.first(QUESTIONS[0], spec.tokens_per_tile)
    for question, following in zip_longest(QUESTIONS, QUESTIONS[1:]):
        cases.append({"turns": list(turns), "question": question, "ids": list(ids)})
        answer = tokenizer.encode(TEXTS[len(turns)])
        turns.append({"question": question, "ids": answer})
        if following is not None:
            ids += [*answer, *encoder.next(following)]
    return cases


def _begun(tokenizer: Tokenizer, spec: PromptSpec, choice: str) -> list[int]:
    """Ids of a choice after the template's words; by itself where these change with what follows."""
    start = spec.template.assistant_start
    before, ids = tokenizer.encode(start), tokenizer.encode(start + choice)
    return ids[len(before) :] if ids[: len(before)] == before else tokenizer.encode(choice)


def _written(path: Path) -> dict:
    """What each id of a ``tokenizer.json`` writes."""
    decoder = TextDecoder.from_spec(json.loads(path.read_text())["decoder"])
    ids = RustTokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    tokens = {index: token for token, index in ids.items()}
    written = [decoder.to_bytes(tokens.get(index, "")).hex() for index in range(max(tokens) + 1)]
    return {"bytes": written, "strippedSpaces": decoder.strip_spaces}


@pytest.fixture(scope="module")
def manifest_cases(web_bundle, tmp_path_factory) -> Path:
    """The generated schema, and the manifest of a real bundle."""
    files = {"schema": SCHEMA_FILE, "manifest": web_bundle / MANIFEST}
    path = tmp_path_factory.mktemp("manifest") / "cases.json"
    path.write_text(json.dumps({name: json.loads(file.read_text()) for name, file in files.items()}))
    return path


def _cases(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def npm(node, sources: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*node.npm, "run", "--silent", *arguments],
        cwd=sources, capture_output=True, text=True, timeout=300, env={**os.environ, **environment},
    )  # fmt: skip


def test_unit_tests_pass_and_the_shared_cases_agree(
    node, sources, pixel_cases, tokenizer_cases, manifest_cases, tmp_path
):
    sampling_file, sampling = tmp_path / "sampling.json", sampling_cases()
    sampling_file.write_text(json.dumps(sampling))
    report = tmp_path / "report.json"
    done = npm(
        node, sources, "test", "--", "--reporter=json", f"--outputFile={report}",
        PIXEL_CASES=str(pixel_cases), TOKENIZER_CASES=str(tokenizer_cases),
        MANIFEST_CASES=str(manifest_cases), GOLDEN_CASES=str(GOLDEN_CASES), FORM_CASES=str(FORM_CASES),
        CROP_CASES=str(CROP_CASES), SAMPLING_CASES=str(sampling_file), WHOLE_CASES=str(WHOLE_CASES),
        CONFIG_CASES=str(CONFIG_CASES), CONFIDENCE_CASES=str(CONFIDENCE_CASES),
    )  # fmt: skip
    result = json.loads(report.read_text()) if report.exists() else {}
    failures = [
        f"{test['fullName']}: {test['failureMessages'][0][:500]}"
        for file in result.get("testResults", [])
        for test in file["assertionResults"]
        if test["status"] == "failed"
    ]
    assert done.returncode == 0, "\n".join(failures) or done.stderr[-2000:]
    names = [test["fullName"] for file in result["testResults"] for test in file["assertionResults"]]
    assert result["numPendingTests"] == 0  # nothing was skipped: all kinds of shared cases were there
    assert sum("pixelValues and Python" in name for name in names) == len(SIZES)
    assert sum("Tokenizer and Python" in name for name in names) == 6 * len(FAMILIES)
    assert sum("the schema agree" in name for name in names) > 50  # a test per field that the app reads
    cases = json.loads(GOLDEN_CASES.read_text())
    assert sum("golden rule judges" in name for name in names) == len(cases["cases"])
    forms = json.loads(FORM_CASES.read_text())
    crops = json.loads(CROP_CASES.read_text())
    assert sum("is cut as in every language" in name for name in names) == len(crops["cases"])
    assert sum("draws as in every language" in name for name in names) == len(sampling["cases"])
    assert sum("The whole picture is that" in name for name in names) == len(_cases(WHOLE_CASES))
    settings = _cases(CONFIG_CASES)
    assert sum("as all apps read it" in name for name in names) == sum(map(len, settings.values()))
    confidences = _cases(CONFIDENCE_CASES)
    assert sum("Confidence is that of every" in name for name in names) == len(confidences)
    lists = (forms["cases"], forms["refused"], forms["tokens"]["cases"], forms["choices"])
    others = ("is cut", "draws", "numbers")
    assert sum(
        "as in every language" in name and not any(other in name for other in others) for name in names
    ) == sum(map(len, lists))


def test_types_are_right(node, sources):
    done = npm(node, sources, "check")
    assert done.returncode == 0, done.stdout[-2000:]


def test_notices_name_what_is_installed(node, sources):
    done = npm(node, sources, "notices", "--", "--check")
    assert done.returncode == 0, done.stderr
    text = (sources / "public" / "THIRD_PARTY_NOTICES.txt").read_text()
    packed = (sources / "engine" / "THIRD_PARTY_NOTICES.txt").read_text()
    assert "onnxruntime-web 1." in packed
    assert "three 0." in text
    assert "three 0." not in packed
    lock = json.loads((sources / "package-lock.json").read_text())["packages"]
    for project in (sources, sources / "engine"):
        kind = "dependencies" if project == sources else "devDependencies"  # the engine's are built in
        for name, version in json.loads((project / "package.json").read_text())[kind].items():
            if not version.startswith("file:"):
                assert f"{name} {lock[f'node_modules/{name}']['version']} (" in text
