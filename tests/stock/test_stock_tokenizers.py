"""A bundle's tokenizer.json in the tokenizers of the stock packages: the same ids, the same text."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import npm
import pytest
from stock_bundles import Bundles

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx.packages import chat_template, tokenizer_config
from phantom_edge.text.decoding import leading_spaces
from phantom_edge.text.prompt import template_for
from phantom_edge.text.sentencepiece import SAMPLES
from phantom_edge.text.tokenizer import Tokenizer

pytestmark = pytest.mark.stock


@pytest.fixture(scope="module")
def folders(checkpoint_dirs, tmp_path_factory) -> dict[str, Path]:
    """The tokenizer of every checkpoint as a bundle has it, with the config that lies beside it."""
    root, made = tmp_path_factory.mktemp("tokenizers"), {}
    for name, checkpoint in {"nano": None, **checkpoint_dirs}.items():
        source, folder = Pretrained.open(checkpoint), root / name
        folder.mkdir()
        source.tokenizer.save(folder / "tokenizer.json")
        config = tokenizer_config(source.template, ExportOptions(64, 64, "fp32", source.config.end_ids))
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        made[name] = folder
    return made


@pytest.fixture(scope="module")
def texts(folders) -> list[str]:
    """Probes as they stand in a prompt, for both templates; a marker that a tokenizer lacks is text to it."""
    kinds = [template_for(("qwen2", "phi3")[n % 2]) for n in range(len(SAMPLES))]
    questions = [
        kind.render([(probe.replace("<", "("), None)], 2) for kind, probe in zip(kinds, SAMPLES, strict=True)
    ]
    return [*questions, *SAMPLES]


@cache
def ours(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(folder / "tokenizer.json")


@cache
def executorchs(folder: Path):
    from pytorch_tokenizers import CppHFTokenizer

    stock = CppHFTokenizer()
    stock.load(str(folder / "tokenizer.json"))
    return stock


def test_executorch_encodes_the_same(folders, texts):
    for folder in folders.values():
        for text in texts:
            assert list(executorchs(folder).encode(text, 0, 0)) == ours(folder).encode(text), (
                folder.name,
                text,
            )


def test_executorch_decodes_token_by_token(folders):
    """As its runner does; but for the first space, which no single token can know to be the first."""
    for folder in folders.values():
        for text in filter(str.isascii, SAMPLES):
            ids = ours(folder).encode(text)
            whole = [index for index in ids if "\ufffd" not in ours(folder).decode([index])]
            assert "".join(map(executorchs(folder).decode, whole)).lstrip(" ") == ours(folder).decode(
                whole
            ).lstrip(" ")


def test_executorch_ignores_rstrip_as_documented(folders, tmp_path):
    data = json.loads((folders["nano"] / "tokenizer.json").read_text())
    marker = next(token for token in data["added_tokens"] if token["content"] == "<|im_start|>")
    marker["rstrip"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    start = ours(tmp_path).token_id("<|im_start|>")
    assert ours(tmp_path).encode("<|im_start|>\n") == [start]
    assert len(list(executorchs(tmp_path).encode("<|im_start|>\n", 0, 0))) > 1


@pytest.mark.parametrize("spaces", [1, 3, 1 << 16])
def test_a_published_strip_is_written_as_a_replacement(folders, tmp_path, spaces):
    """Llama's form, which the published 3.8B has."""
    decoder = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": spaces, "stop": 0},
    ]
    folder = next(folder for name, folder in folders.items() if name in ("internlm2", "phantom-1.8b"))
    data = json.loads((folder / "tokenizer.json").read_text())
    data["decoder"] = {"type": "Sequence", "decoders": decoder}
    (tmp_path / "published.json").write_text(json.dumps(data))
    published = Tokenizer.from_file(tmp_path / "published.json")
    published.save(tmp_path / "tokenizer.json")
    saved = json.loads((tmp_path / "tokenizer.json").read_text())["decoder"]["decoders"]
    assert saved[:3] == decoder[:3]
    assert saved[3] == {"type": "Replace", "pattern": {"Regex": leading_spaces(spaces)}, "content": ""}
    from tokenizers import Tokenizer as RustTokenizer

    again, rust = Tokenizer.from_file(tmp_path / "tokenizer.json"), RustTokenizer.from_file
    block = published.token_id("\u2581")
    for text in ("three words", "none", ""):
        ids = [block] * 4 + published.encode(text)
        assert again.decode(ids) == published.decode(ids)
        for name in ("tokenizer", "published"):
            assert rust(str(tmp_path / f"{name}.json")).decode(ids) == published.decode(ids)


def test_transformers_js_encodes_and_decodes_the_same(folders, texts, tmp_path):
    npm.install()
    root = next(iter(folders.values())).parent
    job = {"root": str(root), "folders": list(folders), "texts": texts}
    results = npm.run("tokenizers.mjs", "native", job, tmp_path)
    for name, folder in folders.items():
        for text, ids, decoded in zip(texts, results[name]["ids"], results[name]["texts"], strict=True):
            assert ids == ours(folder).encode(text), (name, text)
            # JavaScript's TextDecoder takes a byte order mark away, which is a character like any other to
            # the rest.
            assert decoded == ours(folder).decode(ids).replace("\ufeff", "") or decoded == ours(
                folder
            ).decode(ids)


def test_genai_encodes_the_same_for_a_byte_level_vocabulary(texts, tmp_path_factory):
    og = pytest.importorskip("onnxruntime_genai", reason="needs onnxruntime-genai")
    bundle = Bundles(tmp_path_factory.mktemp("genai"))("desktop")
    stock, tokenizer = og.Tokenizer(og.Model(str(bundle.folder))), ours(bundle.folder)
    for text in texts:
        assert [int(index) for index in stock.encode(text)] == tokenizer.encode(text), text


@pytest.mark.parametrize("decoder", ["qwen2", "internlm2", "phi3"])
def test_the_chat_template_is_our_prompt(decoder):
    from transformers.utils.chat_template_utils import render_jinja_template

    template = template_for(decoder)

    def rendered(*messages) -> str:
        (text,), _ = render_jinja_template(
            [list(messages)], chat_template=chat_template(template), add_generation_prompt=True
        )
        return text

    def said(role: str, content) -> dict:
        return {"role": role, "content": content}

    picture = [{"type": "image"}, {"type": "text", "text": "What\n is it? "}]
    assert rendered(said("user", "Hi")) == template.render([("Hi", None)])
    assert rendered(said("user", picture)) == template.render([("What\n is it? ", None)], 1)
    assert rendered(said("user", picture[::-1])) == template.render([("What\n is it? ", None)], 1)
    several = (said("user", picture), said("assistant", "A cube. "), said("user", "Why?"))
    assert rendered(*several) == template.render([("What\n is it? ", "A cube. "), ("Why?", None)], 1)
