"""A small manifest that is right, for tests that write bundles without a model."""

from dataclasses import replace

from phantom_edge.bundle.manifest import (
    CalibratedQuantization,
    DecoderShape,
    GraphFiles,
    Manifest,
    ModelSource,
    ModuleRow,
    TilePolicy,
    TokenIds,
    Verification,
)
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.published import published_config
from phantom_edge.model.bounds import FoldCertificate, LayerCertificate
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.report.report import Check
from phantom_edge.text.prompt import template_for
from recipes.synthetic import TINY_FAMILIES


def sample_manifest(family: str = "qwen2", **changes: object) -> Manifest:
    """The manifest of a tiny model of that family, with every optional part present."""
    config = PhantomConfig.from_dict(published_config(TINY_FAMILIES[family], 5, 2))
    d, hashed = config.decoder, "0" * 64
    layers = tuple(LayerCertificate(n, d.head_dim, 0.0, 0.0, True, 0.0) for n in range(d.layers))
    check = Check.at_most("integers that differ", 0, 0, "one set of integers serves every format")
    manifest = Manifest(
        producer={"phantom_edge": "0.1.0"},
        target="web",
        browser=True,
        format="onnx",
        graphs=GraphFiles("onnx/vision_encoder.onnx", "onnx/embed_tokens.onnx", "onnx/decoder.onnx"),
        counts={"text_decoder": {"MatMul": 3}},
        source=ModelSource("tiny", 1000, {"config.json": hashed}),
        config=config,
        prompt=template_for(family),
        tiles=TilePolicy(config.tile_size, config.tokens_per_tile, 6, thumbnail=True),
        ids=TokenIds(1, 5, (2,)),
        shape=DecoderShape(d.hidden_size, d.vocab_size, d.layers, d.kv_heads, (2 * d.head_dim,) * d.layers),
        context=64,
        chunk=32,
        kv_cache="float",
        recipe=load_recipe("int4", ["text_decoder.layers.0.*=int8"]),
        fallbacks={"text_decoder.head": "no groups"},
        fold=FoldCertificate("exact", layers, 1e-5, 48),
        notes=("rounded",),
        verification=Verification(True, "tiny for web", {"runtime": "none"}, {"Is it right?": (check,)}),
        quantization=CalibratedQuantization(
            "gptq",
            {"measured": {"kl": 0.1}},
            (ModuleRow("text_decoder.head", "int8", 10, 0.1, 0.2, 0.3, 1.5),),
            {"text_decoder.head": hashed},
        ),
        files={},
    )
    return replace(manifest, **changes)
