"""The published ``config.json`` for given sizes: what a checkpoint that is made here says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Dimensions of a checkpoint to write."""

    decoder: str = "qwen2"
    hidden: int = 192
    ffn: int = 512
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    vocabulary: int = 512
    context: int = 4096
    tied: bool = True
    vision_hidden: int = 128
    vision_ffn: int = 512
    vision_layers: int = 4
    vision_heads: int = 4
    image_size: int = 224
    patch_size: int = 14


def published_config(sizes: Sizes, image_token_id: int, end_id: int) -> dict[str, Any]:
    """The fields of a published ``config.json`` that describe the computation."""
    llm = {
        "model_type": sizes.decoder,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.ffn,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "vocab_size": sizes.vocabulary,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": sizes.tied,
    }
    if sizes.decoder == "internlm2":
        llm["rope_scaling"] = {"type": "dynamic", "factor": 2.0}
    if sizes.decoder == "phi3":
        steps = range(sizes.hidden // sizes.heads // 2)
        factors = {"short_factor": [1 + 0.02 * i for i in steps], "long_factor": [1 + 0.7 * i for i in steps]}
        llm |= {"rope_theta": 10000.0, "max_position_embeddings": 131072}
        llm |= {"original_max_position_embeddings": 4096, "rope_scaling": {"type": "su", **factors}}
    vision = {
        "model_type": "intern_vit_300m",
        "hidden_act": "gelu",
        "norm_type": "layer_norm",
        "hidden_size": sizes.vision_hidden,
        "intermediate_size": sizes.vision_ffn,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": sizes.vision_heads,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "qk_normalization": False,
    }
    return {
        "architectures": ["PhantomForCausalLM"],
        "model_type": "phantom",
        "downsample_ratio": 0.5,
        "force_image_size": sizes.image_size,
        "image_token_index": image_token_id,
        "eos_token_id": end_id,
        "template": "phantom",
        "llm_config": llm,
        "vision_config": vision,
    }
