"""Who is measured: our artifacts with the phantom dimension and without it, and the peers that are
present.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import llama
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.errors import InputError
from phantom_edge.targets import format_for

RECIPE = "int4"
FOLDS = ("exact", "auto", "off")  # off: the same decoder without its phantom dimension, for comparison only
FORMATS = {"onnx": "ours, ONNX", "executorch": "ours, ExecuTorch"}
COMPRESSED = "auto"  # the fold of the variants below
SMALL_HEAD = (
    "text_decoder.head=int4",
    "token_embedding=int4",
)  # what llama.cpp's --pure does: four bits there too
EXPORT_ONLY = {"coreml": "ours, Core ML"}  # needs a Mac to run at speed; its export is timed everywhere
LLAMA = ("llama-bench", "llama-mtmd-cli")


@dataclass(frozen=True)
class Contender:
    """One column of the table.

    ``kind`` says how it runs (``onnx``, ``executorch``, ``torch``, ``llama``). ``folder`` holds our artifact,
    ``facts`` what is known without running it: bytes of its files, of what a token reads, of one token in the
    cache. ``kv_cache`` is its type of KV cache, ``float`` or ``int8``; ``rules`` override the recipe.
    ``vocab`` and ``tile_sizes`` cut the checkpoint as the options of an export do.
    """

    name: str
    kind: str
    folder: Path | None = None
    fold: str | None = None
    facts: Mapping[str, Any] | None = None
    kv_cache: str = "float"
    rules: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ()
    tile_sizes: tuple[int, ...] = ()


def ours(
    work: Path,
    formats: Mapping[str, str] = FORMATS,
    vocab: str | None = None,
    tile_sizes: tuple[int, ...] = (),
) -> list[Contender]:
    """Our int4 artifacts below ``work``, made or not.

    Every fold in every format; the compressed one with a head of four bits, and with an int8 KV cache where a
    format takes one; with ``vocab`` also cut to that preset, with encoders for ``tile_sizes``; one where only
    the export counts.
    """
    contenders = []
    for kind, title in formats.items():
        contenders += [_ours(work, kind, title, fold) for fold in FOLDS]
        contenders.append(_ours(work, kind, title, COMPRESSED, rules=SMALL_HEAD))
        if format_for(kind).int8_cache:
            contenders.append(_ours(work, kind, title, COMPRESSED, kv_cache="int8"))
        if vocab is not None:
            whole = _ours(work, kind, title, COMPRESSED)
            folder = work / f"{artifact(kind, COMPRESSED)}-{vocab}"
            name = f"{whole.name}, --vocab {vocab}"
            contenders.append(replace(whole, name=name, folder=folder, vocab=(vocab,), tile_sizes=tile_sizes))
    return contenders + [_ours(work, kind, title, FOLDS[0]) for kind, title in EXPORT_ONLY.items()]


def _ours(
    work: Path, kind: str, title: str, fold: str, *, kv_cache: str = "float", rules: tuple[str, ...] = ()
) -> Contender:
    told = [f"{title} int4", "no phantom" if fold == "off" else fold]
    told += ["int4 head"] if rules else []
    told += ["int8 cache"] if kv_cache == "int8" else []
    folder = (
        artifact(kind, fold) + ("-int4head" if rules else "") + ("-int8cache" if kv_cache == "int8" else "")
    )
    return Contender(", ".join(told), kind, work / folder, fold, kv_cache=kv_cache, rules=rules)


def artifact(kind: str, fold: str) -> str:
    """Folder name of an artifact of the plain recipe, its KV cache in float."""
    return f"{kind}-{RECIPE}-{fold.replace(':', '')}"


def torch_peers(config: PhantomConfig) -> list[Contender]:
    """transformers in bf16, where it can be imported and knows the decoder."""
    if importlib.util.find_spec("transformers") is None or config.decoder.type != "qwen2":
        return []
    values = parameters(config)
    cache = 2 * 2 * config.decoder.layers * config.decoder.kv_heads * config.decoder.head_dim
    facts = {"files": 2 * sum(values.values()), "decoder": 2 * values["decoder"], "cache_per_token": cache}
    return [Contender("transformers, bf16", "torch", facts=facts)]


def parameters(config: PhantomConfig) -> dict[str, int]:
    """Parameters of the decoder (with the head, without a table of its own for the embedding) and of the
    encoder.
    """
    from phantom_edge.checkpoint.key_map import tensor_sources

    counts = {"decoder": 0, "vision": 0}
    for name, source in tensor_sources(config).items():
        if ".phantom." in name or ".gate" in name.replace(".gate_up", "") or name == "token_embedding.weight":
            continue
        rows = [_product(shape) for _, shape in source.parts]
        counts["vision" if name.startswith("vision") else "decoder"] += sum(rows)
    return counts


def llama_peers(paths: Mapping[str, Path], folder: Path, config: PhantomConfig) -> list[Contender]:
    """llama.cpp on the GGUF files in ``folder``, one column per quantised decoder."""
    if "llama-bench" not in paths:
        return []
    found = llama.decoders(folder)
    if not found:
        raise InputError(f"{folder}: no decoder-q4_0*.gguf; write them as benchmarks/README.md says")
    cache = 2 * 2 * config.decoder.layers * config.decoder.kv_heads * config.decoder.head_dim
    vision = sum(path.stat().st_size for path in llama.encoders(folder)[:1])
    return [
        Contender(
            f"llama.cpp, {path.stem.removeprefix('decoder-').replace('q4_0', 'Q4_0')}",
            "llama",
            path,
            facts={
                "files": path.stat().st_size + vision,
                "decoder": path.stat().st_size,
                "cache_per_token": cache,
            },
        )
        for path in found
    ]


def parse_peers(text: str) -> dict[str, Path]:
    """``llama-bench=PATH,llama-mtmd-cli=PATH`` as a mapping. Raises :class:`InputError` for another name or
    no file.
    """
    paths = {}
    for entry in filter(None, text.split(",")):
        name, _, path = entry.partition("=")
        if name not in LLAMA:
            raise InputError(f"unknown peer {name!r}; there are {', '.join(LLAMA)}")
        if not Path(path).is_file():
            raise InputError(f"{name}: {path or 'no path'} is not a file")
        paths[name] = Path(path).resolve()
    return paths


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
