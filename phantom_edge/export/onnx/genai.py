"""What onnxruntime-genai needs besides the graphs: ``genai_config.json`` and two small graphs.

Its vision-language pipeline (``multi_modal.cpp``) wants image features of rank 2 and an embedding model that
puts them into place itself. Both are written here as the artifact's own graphs with a few nodes more; they
hold no weights of their own but read the data files that lie beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx_layout import FOLDER
from phantom_edge.export.onnx_model import AGAIN, load_model
from phantom_edge.model.folded import FoldedModel
from phantom_edge.system.reading import reading

CONFIG: Final = "genai_config.json"
VISION: Final = f"{FOLDER}/genai_vision.onnx"
EMBEDDING: Final = f"{FOLDER}/genai_embedding.onnx"
MODEL_TYPE: Final = "phi3v"
"""Of the types that the package knows, the one that makes no assumption beyond the three models."""
# Set, because int8 weights saturate ONNX Runtime's 16-bit sums on x86 without VNNI.
EXACT_INT8: Final = "session.x64quantprecision"
FEATURES, ROWS = "image_features", "num_image_tokens"


def contents(
    model: FoldedModel, options: ExportOptions, out: Path, files: dict[str, Path]
) -> dict[str, bytes]:
    """Both graphs and the config by path, made of the graphs in ``files`` (relative to ``out``).

    Raises :class:`InputError` for a graph that is damaged or without the output that is to be changed.
    """
    written: dict[str, bytes] = {}
    for graph, name, change in (
        ("vision_encoder", VISION, _flat_features),
        ("token_embedding", EMBEDDING, _with_features),
    ):
        with reading(out / files[graph], AGAIN):
            changed = change(load_model(out / files[graph]), model)
            written[name] = changed.SerializeToString(deterministic=True)
    config = json.dumps(config_of(model, options, files["text_decoder"].as_posix()), indent=2)
    return written | {CONFIG: (config + "\n").encode()}


def config_of(model: FoldedModel, options: ExportOptions, decoder: str) -> dict[str, Any]:
    """``genai_config.json``; ``decoder`` is the decoder's file relative to it."""
    d = model.config.decoder
    widths = [model.spec.width(n) for n in range(d.layers)]
    halves = [(when, name, kind) for when, name in _CACHE.items() for kind in ("key", "value")]
    cache = {f"{when}_{kind}_names": f"{name}.%d.{kind}" for when, name, kind in halves}
    return {
        "model": {
            "type": MODEL_TYPE,
            "eos_token_id": list(options.end_ids),
            "pad_token_id": NO_TOKEN,
            "vocab_size": d.vocab_size,
            "context_length": options.context,
            "vision": {
                "filename": VISION,
                "inputs": {"pixel_values": "pixel_values"},
                "outputs": {FEATURES: FEATURES},
            },
            "embedding": {
                "filename": EMBEDDING,
                "inputs": {"input_ids": "input_ids", FEATURES: FEATURES},
                "outputs": {"inputs_embeds": "inputs_embeds"},
            },
            "decoder": {
                "session_options": {"log_severity_level": 3, EXACT_INT8: "1"},
                "filename": decoder,
                "head_size": max(widths),
                "hidden_size": d.hidden_size,
                "num_attention_heads": d.heads,
                "num_hidden_layers": d.layers,
                "num_key_value_heads": d.kv_heads,
                "inputs": {
                    "inputs_embeds": "inputs_embeds",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    **{name: value for name, value in cache.items() if name.startswith("past")},
                },
                "outputs": {
                    "logits": "logits",
                    **{name: value for name, value in cache.items() if name.startswith("present")},
                },
            },
        },
        "search": {"do_sample": False, "max_length": options.context, "past_present_share_buffer": True},
    }


_CACHE: Final = {"past": "past_key_values", "present": "present"}
NO_TOKEN: Final = -1
"""The package masks the padding token wherever it meets it: none that a prompt may hold."""


def _flat_features(vision: onnx.ModelProto, model: FoldedModel) -> onnx.ModelProto:
    """The vision encoder with its output as [tiles x tokens, hidden]."""
    graph, hidden = vision.graph, model.config.decoder.hidden_size
    _rename_result(graph, FEATURES, f"{FEATURES}_by_tile")
    graph.initializer.append(helper.make_tensor("rows_and_hidden", TensorProto.INT64, [2], [-1, hidden]))
    graph.node.append(helper.make_node("Reshape", [f"{FEATURES}_by_tile", "rows_and_hidden"], [FEATURES]))
    _replace_output(graph, FEATURES, [ROWS, hidden])
    return vision


def _with_features(embedding: onnx.ModelProto, model: FoldedModel) -> onnx.ModelProto:
    """The embedding with the rows of a further input, which may be none, at the places of the image token."""
    graph, config = embedding.graph, model.config
    _rename_result(graph, "inputs_embeds", "text_embeds")
    hidden, image = config.decoder.hidden_size, config.image_token_id
    graph.input.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [ROWS, hidden]))
    graph.initializer.append(helper.make_tensor("image_token_id", TensorProto.INT64, [], [image]))
    nodes = [
        helper.make_node("Equal", ["input_ids", "image_token_id"], ["is_image"]),
        helper.make_node("NonZero", ["is_image"], ["places_across"]),  # [2, rows]
        helper.make_node("Transpose", ["places_across"], ["places"], perm=[1, 0]),  # [rows, 2]
        helper.make_node("ScatterND", ["text_embeds", "places", FEATURES], ["inputs_embeds"]),
    ]
    graph.node.extend(nodes)
    return embedding


def _rename_result(graph: onnx.GraphProto, old: str, new: str) -> None:
    last = next((node for node in graph.node if old in node.output), None)
    if last is None or old not in {value.name for value in graph.output}:
        raise InputError(f"onnx: a graph has no output {old}; export the bundle again")
    last.output[list(last.output).index(old)] = new


def _replace_output(graph: onnx.GraphProto, name: str, shape: list[int | str]) -> None:
    output = next(value for value in graph.output if value.name == name)
    output.CopyFrom(helper.make_tensor_value_info(name, output.type.tensor_type.elem_type, shape))
