"""Where the files of an ONNX artifact lie: the folder and the names that transformers.js looks for.

``onnx/{vision_encoder,embed_tokens,decoder_model_merged}{suffix}.onnx``, weights beside each as
``….onnx_data``. The suffix says the bundle's type (transformers.js's ``dtype``): nothing for fp32,
``_quantized`` for 8 bits and so on. Outside the exporter's package, because the runtime needs these names and
not the exporter's libraries.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError

FOLDER: Final = "onnx"
VISION: Final = "vision_encoder"
STEMS: Final = {
    VISION: "vision_encoder",
    "token_embedding": "embed_tokens",
    "text_decoder": "decoder_model_merged",
}
"""transformers.js's name of each graph (``session_config.js``, ImageTextToText)."""
SUFFIXES: Final = {"fp32": "", "fp16": "_fp16", "q8": "_quantized", "q4": "_q4", "q4f16": "_q4f16"}
"""By type (``utils/dtypes.js``). A browser without other settings runs q8."""

NPU_FOLDER: Final = "npu"
"""Below it a folder for every chip, with the graphs that were compiled for it."""
NPU_GRAPHS: Final = ("vision_encoder", "prefill", "decode")
"""What an NPU may run: the decoder once for many tokens and once for one."""


def npu_file(graph: str) -> str:
    """The uncompiled file of one of an NPU's graphs, in :data:`FOLDER`."""
    return f"npu_{graph}.onnx"


def compiled_file(chip: str, graph: str) -> str:
    """The file of a graph that was compiled for a chip, relative to the bundle.

    >>> compiled_file("SM8650", "decode")
    'npu/sm8650/decode.onnx'
    """
    return f"{NPU_FOLDER}/{chip.lower()}/{graph}.onnx"


def file_name(graph: str, dtype: str) -> str:
    """The file of one graph, one of :data:`STEMS` or a vision encoder for a further size of tiles.

    >>> file_name("token_embedding", "q8"), file_name("vision_encoder_336", "q8")
    ('embed_tokens_quantized.onnx', 'vision_encoder_336_quantized.onnx')
    """
    return f"{STEMS.get(graph, graph)}{SUFFIXES[dtype]}.onnx"


def further_vision_encoders(folder: Path) -> dict[int, Path]:
    """The vision encoders below ``folder`` for further sizes of tiles, by size, of the default's type.

    Raises as :func:`find`.
    """
    default = find(folder, VISION)
    suffix = default.name.removeprefix(STEMS[VISION])
    pattern = re.compile(rf"{STEMS[VISION]}_([1-9]\d{{0,6}}){re.escape(suffix)}")
    names = sorted(path.name for path in default.parent.iterdir())
    return {int(match[1]): default.parent / name for name in names if (match := pattern.fullmatch(name))}


def find(folder: Path, graph: str) -> Path:
    """The file of one graph below ``folder``. Raises :class:`InputError` for none, or for several types."""
    paths = [folder / FOLDER / file_name(graph, dtype) for dtype in SUFFIXES]
    present = [path for path in paths if path.exists()]
    if len(present) == 1:
        return present[0]
    if not present:
        raise InputError(f"{folder / FOLDER}: no {STEMS[graph]}.onnx of any type; export the bundle again")
    names = ", ".join(path.name for path in present)
    raise InputError(f"{folder / FOLDER}: {names}: one bundle holds one type; remove the others")


def is_there(folder: Path, graph: str) -> bool:
    """Whether ``folder`` has a graph for the CPU, of any type."""
    return any((folder / FOLDER / file_name(graph, dtype)).exists() for dtype in SUFFIXES)
