"""Folders that people give in place of a checkpoint: each is named for what it is, with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phantom_edge.checkpoint.stored import INDEX, SINGLE
from phantom_edge.errors import InputError
from phantom_edge.system.reading import read_json

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LFS_POINTER = b"version https://git-lfs"
ADAPTER = "adapter_config.json"
LANGUAGE_MODELS = ("qwen2", "internlm2", "phi3", "llama", "mistral", "gemma", "qwen2_5", "qwen3")


def refuse_other_folders(folder: Path) -> None:
    """Raise :class:`InputError`, naming what it is, for a folder that is no checkpoint to load."""
    refuse_bundle(folder)
    _refuse_pointers(folder)
    _refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        _refuse_without_config(folder)
    if not (folder / SINGLE).exists() and not (folder / INDEX).exists():
        _refuse_other_weights(folder)


def refuse_bundle(folder: Path, name: str | None = None) -> None:
    """Raise :class:`InputError` for a bundle; its ``config.json`` may be that of another runtime.

    ``name`` is what it is called where that is not its folder.
    """
    if _is_bundle(folder):
        raise InputError(
            f"{name or folder}: is a bundle, which is exported already; give the checkpoint it was made from"
        )


def refuse_file(path: Path) -> None:
    """Raise :class:`InputError` for a path that is a file: a checkpoint is a folder."""
    if path.suffix == ".gguf":
        raise InputError(f"{path}: {_GGUF}")
    raise InputError(f"{path}: is a file; give the checkpoint's folder")


def refuse_quantized(config: dict[str, Any]) -> None:
    """Raise :class:`InputError` for a ``config.json`` whose weights another tool has quantised."""
    for section in (config, config.get("llm_config"), config.get("vision_config")):
        quantization = section.get("quantization_config") if isinstance(section, dict) else None
        if quantization is not None:
            method = quantization.get("quant_method") if isinstance(quantization, dict) else None
            kind = f"by {method[:30]} " if isinstance(method, str) else ""
            raise InputError(
                f"config.json: the weights are quantised {kind}already (quantization_config); "
                "give the checkpoint it was made from, and choose --quant here"
            )


def other_model(kind: object) -> InputError:
    """What to say of a ``config.json`` of another ``model_type``."""
    shown = "an unnamed" if kind is None else f"a {str(kind)[:40]!r}"
    missing = "without the phantom dimension"
    if kind in LANGUAGE_MODELS:
        missing = "a language model alone, without vision encoder, projector and phantom dimension"
    return InputError(f"config.json describes {shown} model, {missing}: give a Phantom checkpoint")


_GGUF = "is GGUF for llama.cpp, whose weights are rounded; give the safetensors checkpoint it was made from"


def _is_bundle(folder: Path) -> bool:
    """Whether a folder has a bundle's manifest."""
    manifest = folder / "manifest.json"
    try:
        return manifest.is_file() and "graphs" in read_json(manifest, 16 << 20)
    except InputError:
        return False


def _refuse_pointers(folder: Path) -> None:
    for path in sorted(
        [*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("tokenizer.model")]
    ):
        try:
            with path.open("rb") as file:
                start = file.read(len(LFS_POINTER))
        except OSError:
            continue  # whoever needs it says why it cannot be read
        if start == LFS_POINTER:
            raise InputError(f"{path}: is a Git LFS pointer, not the file; run `git lfs pull` in its folder")


def _refuse_adapter(folder: Path) -> None:
    if not (folder / ADAPTER).is_file():
        return
    base = _text(folder / ADAPTER, "base_model_name_or_path")
    of = f" of {base[:80]}" if base else ""
    raise InputError(
        f"{folder}: holds a LoRA adapter{of} ({ADAPTER}); merge it into its checkpoint first "
        "(peft's merge_and_unload) and give the merged folder"
    )


def _refuse_without_config(folder: Path) -> None:
    inner = sorted(p.parent.name for p in folder.glob("*/config.json"))
    if gguf := sorted(folder.glob("*.gguf")):
        raise InputError(f"{folder}: {gguf[0].name} {_GGUF}")
    if inner:
        raise InputError(f"{folder}: no config.json, but {inner[0][:80]} in it has one; give that folder")
    raise InputError(f"{folder}: no config.json; give the folder of a Phantom checkpoint")


def _refuse_other_weights(folder: Path) -> None:
    if gguf := sorted(folder.glob("*.gguf")):
        raise InputError(f"{folder}: {gguf[0].name} {_GGUF}")
    pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
    if pickles:
        raise InputError(
            f"{folder}: only pickled weights ({pickles[0]}), which can run code when they are loaded; "
            "convert them to model.safetensors where you trust them"
        )


def _text(path: Path, field: str) -> str:
    try:
        value = read_json(path).get(field)
    except (InputError, json.JSONDecodeError):
        return ""
    return value if isinstance(value, str) else ""
