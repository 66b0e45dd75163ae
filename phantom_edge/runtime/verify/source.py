"""The bundle's words against the checkpoint's: configuration, prompt, ids, tiles, and the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from phantom_edge.bundle.folder import TOKENIZER
from phantom_edge.bundle.manifest import FLOAT, INT8, Manifest
from phantom_edge.checkpoint.tailored import at_tile_size
from phantom_edge.errors import InputError
from phantom_edge.records import to_json
from phantom_edge.report.report import Check
from phantom_edge.runtime.verify.subject import Subject, differs
from phantom_edge.system.reading import parse_json, read_json
from phantom_edge.targets import FORMATS, target_for, targets
from phantom_edge.text.tokenizer import MAX_FILE_BYTES, Tokenizer

LIMITING: Final = ("truncation", "padding")
"""Of a tokenizer.json: what other libraries than ours apply to every text."""


def manifest(subject: Subject) -> Check:
    """Every field that an app or a runtime acts on is what the checkpoint and the target make it."""
    wrong = [name for name, value, expected in _fields(subject) if to_json(value) != to_json(expected)]
    detail = differs(wrong)
    return Check.at_most(
        "manifest fields that differ",
        len(wrong),
        0,
        "apps believe the manifest; the checkpoint decides",
        detail,
    )


def _fields(subject: Subject) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and expected value of each field."""
    m, model, spec = subject.bundle.manifest, subject.model, subject.spec
    config, d = subject.source.config, subject.source.config.decoder
    yield "config", m.config, config
    yield "prompt", m.prompt, spec.template
    yield "ids.first", m.ids.first, spec.first_id
    yield "ids.image", m.ids.image, spec.image_token_id
    yield "ids.end", m.ids.end, spec.end_ids
    yield "tiles.size", m.tiles.size, spec.tile_size
    yield "tiles.tokens", m.tiles.tokens, spec.tokens_per_tile
    yield "tiles.thumbnail", m.tiles.thumbnail, True
    trained = at_tile_size(subject.source.checkpoint, None).config.tile_size
    yield "tiles.trained", m.tiles.trained, None if trained == spec.tile_size else trained
    yield "shape.hidden", m.shape.hidden, d.hidden_size
    yield "shape.vocabulary", m.shape.vocabulary, d.vocab_size
    yield "shape.layers", m.shape.layers, d.layers
    yield "shape.kv_heads", m.shape.kv_heads, d.kv_heads
    yield "shape.cache_widths", m.shape.cache_widths, tuple(model.spec.width(n) for n in range(d.layers))
    rows = None if subject.source.whole is None else subject.source.whole.config.decoder.vocab_size
    yield "vocabulary.checkpoint", m.vocabulary and m.vocabulary.checkpoint, rows
    yield "kv_cache", m.kv_cache, FLOAT if model.kv is None else INT8
    yield "source.parameters", m.source.parameters, subject.source.checkpoint.parameters
    yield "recipe", m.recipe, model.recipe
    plan = model.recipe.plan(model.module_shapes()) if model.recipe else []
    yield "fallbacks", m.fallbacks, {a.name: a.reason for a in plan if a.fallback}
    yield from _npu_fields(subject)
    yield from _target_fields(m)


def _npu_fields(subject: Subject) -> Iterator[tuple[str, Any, Any]]:
    """What an app gives to the NPU's provider, and by which it chooses files."""
    npu = subject.bundle.manifest.npu
    expected = subject.artifact_format.npu_entry(subject.model, subject.options)
    if npu is None or expected is None:
        yield "npu", npu, expected
        return
    for name in ("graphs", "activations", "architectures", "options"):
        yield f"npu.{name}", getattr(npu, name), getattr(expected, name)
    for chip, own in npu.compiled.items():
        made = replace(expected.compiled[chip], compiler=own.compiler, seconds=own.seconds)
        yield f"npu.compiled.{chip}", own, made


def _target_fields(m: Manifest) -> Iterator[tuple[str, Any, Any]]:
    if m.target not in targets():  # another package's, which is not installed here
        return
    target = target_for(m.target)
    formats = {target.artifact_format(name).name for name in (None, *FORMATS)}
    yield "browser", m.browser, target.browser
    yield "format", m.format in formats, True


def tokenizer(subject: Subject) -> list[Check]:
    """The tokenizer file, rule by rule, against the checkpoint's, both as the same library reads them."""
    path, own = subject.bundle.folder / TOKENIZER, subject.source.tokenizer
    shipped = Tokenizer.from_file(path)
    limiting = [name for name in LIMITING if read_json(path, MAX_FILE_BYTES).get(name) is not None]
    rules = [*limiting, *_differences(*(parse_json(one.to_json(), path) for one in (shipped, own)))]
    detail = ""
    if rules:
        pieces = differing_pieces(shipped, own)
        detail = f"{differs(rules)}; {len(pieces)} of {own.vocab_size} pieces encode otherwise"
    reason = "equal rules, vocabulary and merges make equal ids of every text"
    return [Check.at_most("tokenizer rules that differ", len(rules), 0, reason, detail)]


def differing_pieces(shipped: Tokenizer, own: Tokenizer) -> list[int]:
    """Ids whose text, or whose text's ids, are others in ``shipped`` than in the checkpoint's ``own``."""
    ids = range(max(own.vocab_size, shipped.vocab_size))
    texts = [own.decode([index], skip_special=False) for index in ids]
    wrong = {index for index in ids if shipped.decode([index], skip_special=False) != texts[index]}
    wrong |= {index for index, text in enumerate(texts) if not _encodes_alike(shipped, own, text)}
    # After a letter and a space, where word pieces begin otherwise than at the start of a text.
    wrong |= {
        index for index, text in enumerate(texts) if not _encodes_alike(shipped, own, f"a {text}{text}")
    }
    return sorted(wrong)


def _encodes_alike(shipped: Tokenizer, own: Tokenizer, text: str) -> bool:
    try:
        return shipped.encode(text) == own.encode(text)
    except InputError:
        return False


def _differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Paths at which two JSON values differ, the first few levels deep."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = sorted(a.keys() | b.keys(), key=str)
        return [path for n in names for path in _differences(a.get(n), b.get(n), f"{where}.{n}".lstrip("."))]
    return [] if a == b else [where]
