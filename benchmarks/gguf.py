"""A 0.5B checkpoint as GGUF for llama.cpp: the decoder without its phantom dimension, and InternVL's
``mmproj``.

llama.cpp knows InternVL with a Qwen2 decoder, which is what Phantom-0.5B is apart from the phantom dimension;
the same weights then serve both sides of a comparison. It needs none of the heavy packages and runs in an
environment of its own (``pip install gguf numpy pillow``):

    python -m benchmarks.gguf CHECKPOINT OUT        # decoder-bf16.gguf, mmproj-bf16.gguf, mmproj-q8_0.gguf
    llama-quantize OUT/decoder-bf16.gguf OUT/decoder-q4_0.gguf Q4_0
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from phantom_edge.errors import InputError
from phantom_edge.images import IMAGENET_MEAN, IMAGENET_STD

DECODER, MMPROJ = "decoder-bf16.gguf", "mmproj-{}.gguf"
VISION_TYPES = {"bf16": Type.BF16, "q8_0": Type.Q8_0}
FLOAT_PARTS = (
    "norm",
    "bias",
    ".ls1",
    ".ls2",
    "ln1",
    "ln2",
    "embd",
    "mlp.0.",
)  # stay fp32, as in llama.cpp's files

# llama.cpp's names (gguf-py, tensor_mapping.py) for what a Phantom checkpoint stores.
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {
    "language_model.model.embed_tokens.weight": "token_embd.weight",
    "language_model.model.norm.weight": "output_norm.weight",
    "vision_model.embeddings.class_embedding": "v.class_embd",
    "vision_model.embeddings.position_embedding": "v.position_embd.weight",
    "vision_model.embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "vision_model.embeddings.patch_embedding.bias": "v.patch_embd.bias",
}
_VISION_LAYER = {
    "attn.proj": "attn_out",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
    "norm1": "ln1",
    "norm2": "ln2",
}


class Bf16Checkpoint(Mapping[str, np.ndarray]):
    """The tensors of a folder's bf16 safetensors files in fp32, mapped and converted when asked for."""

    def __init__(self, folder: Path):
        self._places: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                entries = json.loads(file.read(size))
            entries.pop("__metadata__", None)
            self._places |= {key: (path, 8 + size, entry) for key, entry in entries.items()}

    def __getitem__(self, key: str) -> np.ndarray:
        path, base, entry = self._places[key]
        if entry["dtype"] != "BF16":
            raise InputError(f"{path}: {key} is {entry['dtype']}; benchmarks.make_checkpoint writes BF16")
        shape = tuple(entry["shape"])
        half = np.memmap(path, np.uint16, "r", base + entry["data_offsets"][0], shape)
        return (half.astype(np.uint32) << 16).view(np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def names_of(key: str) -> tuple[str, ...]:
    """llama.cpp's name of a stored tensor; three for the fused qkv of the vision encoder, none for phantom's
    own.
    """
    if key in _TOP:
        return (_TOP[key],)
    if key.startswith("vision_proj."):
        return ("mm.model.mlp." + key.removeprefix("vision_proj."),)
    parts = key.split(".layers.")
    if len(parts) != 2 or "phantom" in key:
        return ()
    number, _, rest = parts[1].partition(".")
    if key.startswith("language_model."):
        module, _, kind = rest.rpartition(".")
        return (f"blk.{number}.{_LAYER[module]}.{kind}",)
    if rest in ("ls1", "ls2"):
        return (f"v.blk.{number}.{rest}.weight",)
    module, _, kind = rest.rpartition(".")
    if module == "attn.qkv":
        return tuple(f"v.blk.{number}.attn_{part}.{kind}" for part in "qkv")
    return (f"v.blk.{number}.{_VISION_LAYER[module]}.{kind}",)


def convert(folder: Path, out: Path) -> list[Path]:
    """Write decoder and vision encoder of the checkpoint in ``folder`` to ``out`` and return the files.

    Raises :class:`InputError` for anything but a Qwen2 decoder: llama.cpp's InternVL takes no other of
    Phantom's.
    """
    config = json.loads((folder / "config.json").read_text())
    kind = config["llm_config"]["model_type"]
    if kind != "qwen2":
        raise InputError(
            f"{folder}: a {kind} decoder; llama.cpp's InternVL takes a qwen2 one of Phantom's sizes"
        )
    tensors = Bf16Checkpoint(folder)
    out.mkdir(parents=True, exist_ok=True)
    files = [
        _write(out / DECODER, "qwen2", tensors, "language_model.", Type.BF16, _decoder_fields(folder, config))
    ]
    for name, target in VISION_TYPES.items():
        path = out / MMPROJ.format(name)
        files.append(_write(path, "clip", tensors, "vision_", target, _vision_fields(config)))
    return files


def _write(path: Path, arch: str, tensors: Bf16Checkpoint, prefix: str, target: Type, fields) -> Path:
    writer = gguf.GGUFWriter(path, arch, use_temp_file=True)
    for method, *values in fields:
        getattr(writer, f"add_{method}")(*values)
    for key in (k for k in tensors if k.startswith(prefix)):
        names = names_of(key)
        for name, part in zip(names, np.split(tensors[key], max(1, len(names))), strict=False):
            _add(writer, name, part, target)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, name: str, array: np.ndarray, target: Type) -> None:
    if name == "v.class_embd":
        array = array.reshape(-1)
    if name == "v.position_embd.weight":
        array = array[0]
    is_float = array.ndim != 2 or (name != "token_embd.weight" and any(part in name for part in FLOAT_PARTS))
    kind = Type.F32 if is_float else target
    writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)


def _decoder_fields(folder: Path, config: dict) -> Iterator[tuple]:
    llm = config["llm_config"]
    yield "context_length", llm["max_position_embeddings"]
    yield "embedding_length", llm["hidden_size"]
    yield "block_count", llm["num_hidden_layers"]
    yield "feed_forward_length", llm["intermediate_size"]
    yield "head_count", llm["num_attention_heads"]
    yield "head_count_kv", llm["num_key_value_heads"]
    yield "rope_freq_base", llm["rope_theta"]
    yield "layer_norm_rms_eps", llm["rms_norm_eps"]
    yield "file_type", gguf.LlamaFileType.MOSTLY_BF16
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    ids = {**tokenizer["model"]["vocab"], **special}
    texts = sorted(ids, key=ids.get)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    yield "tokenizer_model", "gpt2"
    yield "tokenizer_pre", "qwen2"
    yield "token_list", texts
    yield "token_types", [control if text in special else normal for text in texts]
    yield "token_merges", [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    yield "eos_token_id", config["eos_token_id"]
    yield "add_bos_token", False


def _vision_fields(config: dict) -> Iterator[tuple]:
    vision = config["vision_config"]
    yield "type", gguf.GGUFType.MMPROJ
    yield "clip_has_vision_encoder", True
    yield "clip_projector_type", "internvl"
    yield "vision_projection_dim", config["llm_config"]["hidden_size"]
    yield "vision_image_size", vision["image_size"]
    yield "vision_patch_size", vision["patch_size"]
    yield "vision_embedding_length", vision["hidden_size"]
    yield "vision_feed_forward_length", vision["intermediate_size"]
    yield "vision_block_count", vision["num_hidden_layers"]
    yield "vision_head_count", vision["num_attention_heads"]
    yield "vision_attention_layernorm_eps", vision["layer_norm_eps"]
    yield "vision_projector_scale_factor", round(1 / config["downsample_ratio"])
    yield "vision_image_mean", list(IMAGENET_MEAN)
    yield "vision_image_std", list(IMAGENET_STD)
    yield "vision_use_gelu", True


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.gguf CHECKPOINT OUT")
    for written in convert(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{written}: {written.stat().st_size / 1e6:.0f} MB")
