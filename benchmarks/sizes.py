"""The dimensions of the four published Phantom checkpoints, as facts: nothing here is read from a released
file.

Decoders: Qwen2-0.5B, InternLM2-1.8B, Phi-3-mini, InternLM2.5-7B; the vision encoder of all four is
InternViT-300M at 448 px. Vocabularies include the tokens that Phantom adds.
"""

from __future__ import annotations

from dataclasses import replace

from phantom_edge.checkpoint.published import Sizes
from phantom_edge.errors import InputError

_VISION = {
    "vision_hidden": 1024,
    "vision_ffn": 4096,
    "vision_layers": 24,
    "vision_heads": 16,
    "image_size": 448,
    "patch_size": 14,
}
PUBLISHED: dict[str, Sizes] = {
    "0.5b": Sizes("qwen2", 896, 4864, 24, 14, 2, 151655, context=32768, tied=True, **_VISION),
    "1.8b": Sizes("internlm2", 2048, 8192, 24, 16, 8, 92553, context=32768, tied=False, **_VISION),
    "3.8b": Sizes("phi3", 3072, 8192, 32, 32, 32, 32020, context=131072, tied=False, **_VISION),
    "7b": Sizes("internlm2", 4096, 14336, 32, 32, 8, 92553, context=32768, tied=False, **_VISION),
}


def published(name: str, layers: int | None = None) -> Sizes:
    """The sizes called ``name`` (``0.5b``, ``1.8b``, ``3.8b``, ``7b``); ``layers`` shortens decoder and
    vision encoder.

    Raises :class:`InputError` for another name, or for more layers than there are.

    >>> published("0.5b", layers=2).vision_layers
    2
    """
    if name not in PUBLISHED:
        raise InputError(f"unknown size {name!r}; there are {', '.join(PUBLISHED)}")
    sizes = PUBLISHED[name]
    if layers is None:
        return sizes
    if not 1 <= layers <= min(sizes.layers, sizes.vision_layers):
        raise InputError(
            f"{name} has {sizes.layers} and {sizes.vision_layers} layers; {layers} of each cannot be kept"
        )
    return replace(sizes, layers=layers, vision_layers=layers)
