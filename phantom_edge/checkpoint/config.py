"""The published ``config.json``, parsed once into frozen dataclasses.

Every dimension is read from the file: the published config *classes* have defaults that describe another
vision encoder (3200 wide), so a field that is absent is an error here, never a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from phantom_edge.checkpoint.refusals import other_model, refuse_quantized
from phantom_edge.checkpoint.rope_fields import KINDS, check_stretch, rope_fields
from phantom_edge.errors import InputError, shown
from phantom_edge.records import from_json, limits
from phantom_edge.system.reading import read_json

DECODER_TYPES = ("qwen2", "internlm2", "phi3")
MAX_DIMENSION = 1 << 20
"""Largest value of any dimension: far above every published size, far below what would exhaust memory."""
MAX_LAYERS = 1024
"""Most layers of an encoder or a decoder: the deepest published has 64, and each takes work at once."""
MAX_TILES = 64
"""Most tiles that a picture is cut into."""
Dimension = Annotated[int, limits(minimum=1, maximum=MAX_DIMENSION)]
Layers = Annotated[int, limits(minimum=1, maximum=MAX_LAYERS)]
Tiles = Annotated[int, limits(minimum=1, maximum=MAX_TILES)]
TokenId = Annotated[int, limits(minimum=0, maximum=MAX_DIMENSION - 1)]
MAX_SENTENCE = 200
"""Characters of what a model says of itself."""
_SENTENCE = f"^[^\\u0000-\\u001f\\u007f-\\u009f]{{1,{MAX_SENTENCE}}}$"
Sentence = Annotated[str, limits(pattern=_SENTENCE, title=f"a sentence of up to {MAX_SENTENCE} characters")]
OWN_SECTION = "phantom_edge"
"""Of ``config.json``, with the fields that are this toolkit's and not the published ones."""


@dataclass(frozen=True)
class VisionConfig:
    """InternViT's dimensions."""

    hidden_size: Dimension
    intermediate_size: Dimension
    layers: Layers
    heads: Dimension
    image_size: Dimension
    """Side of a tile in pixels."""
    patch_size: Dimension
    """Side of a patch in pixels."""
    layer_norm_eps: float
    qkv_bias: bool

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads

    @property
    def grid(self) -> int:
        """Patches along one side of a tile."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Sequence length inside the encoder: every patch and the class token."""
        return self.grid**2 + 1


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding: ``default``, ``dynamic`` (InternLM2's NTK) or ``su`` (Phi-3's two factor tables)."""

    kind: Annotated[str, limits(enum=KINDS)]
    theta: float
    """Its base."""
    original_context: Dimension
    """Tokens up to which the short form holds: base (``dynamic``) or factors (``su``) change beyond it."""
    max_context: Dimension
    factor: float = 1.0
    """Of ``dynamic`` only."""
    short_factor: tuple[float, ...] = ()
    """Of ``su`` only, one for every two channels of a head."""
    long_factor: tuple[float, ...] = ()
    """Of ``su`` only, one for every two channels of a head."""


@dataclass(frozen=True)
class DecoderConfig:
    """The language model's dimensions."""

    type: Annotated[str, limits(enum=DECODER_TYPES)]
    hidden_size: Dimension
    intermediate_size: Dimension
    layers: Layers
    heads: Dimension
    kv_heads: Dimension
    vocab_size: Dimension
    rms_norm_eps: float
    tied_head: bool
    """Whether the head's weight is the token embedding's."""
    qkv_bias: bool
    max_context: Dimension
    """Tokens that the decoder was made for."""
    rope: RopeConfig

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads


@dataclass(frozen=True)
class PhantomConfig:
    """One Phantom checkpoint: vision encoder, projector and decoder, and the ids its prompt needs."""

    vision: VisionConfig
    decoder: DecoderConfig
    image_token_id: TokenId
    end_ids: Annotated[tuple[TokenId, ...], limits(minItems=1)]
    downsample: Dimension = 2
    """Patches along one side of the square that becomes one image token."""
    max_tiles: Tiles | None = None
    """The most tiles it was trained with, or null: then any number that the published tiling gives.

    ``"phantom_edge": {"max_tiles": 1}`` in ``config.json`` is this toolkit's own field."""

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        return self.vision.image_size

    @property
    def tokens_per_tile(self) -> int:
        """Image tokens that one tile becomes after the pixel shuffle."""
        return self.tokens_of(self.tile_size)

    @property
    def tile_step(self) -> int:
        """Pixels by which sizes of tiles may differ: the side of the square that becomes one image token."""
        return self.vision.patch_size * self.downsample

    def tokens_of(self, tile_size: int) -> int:
        """Image tokens of one tile of that side, which is a multiple of ``tile_step``."""
        return (tile_size // self.tile_step) ** 2

    @property
    def projector_width(self) -> int:
        """Channels of an image token after the pixel shuffle, before the projector."""
        return self.vision.hidden_size * self.downsample**2

    @classmethod
    def from_file(cls, path: Path) -> PhantomConfig:
        """Parse ``config.json``. Raises :class:`InputError` naming a missing or contradictory field."""
        return cls.from_dict(read_json(path))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PhantomConfig:
        """Parse the published dictionary. Raises :class:`InputError` naming the offending field."""
        kind = data.get("model_type")
        if kind != "phantom":
            raise other_model(kind)
        refuse_quantized(data)
        top = _Fields(data, "config.json")
        if top.number("downsample_ratio", float) != 0.5:
            raise InputError("config.json: downsample_ratio must be 0.5, the only one Phantom publishes")
        decoder = _decoder(top.section("llm_config"))
        vision = _vision(top.section("vision_config"))
        forced = data.get("force_image_size")
        if forced is not None and forced != (size := vision.image_size):
            raise InputError(
                f"config.json: force_image_size {shown(forced)} contradicts vision_config's {size}"
            )
        image_token = top.number("image_token_index", int)
        ends = data.get("eos_token_id")
        ends = ends if isinstance(ends, list) else [ends]
        for name, value in [("image_token_index", image_token), *(("eos_token_id", e) for e in ends)]:
            if not _is_int(value) or not 0 <= value < decoder.vocab_size:
                raise InputError(f"config.json: {name} {shown(value)} is no id below {decoder.vocab_size}")
        own = top.section(OWN_SECTION) if OWN_SECTION in data else _Fields({}, OWN_SECTION)
        max_tiles = own.size("max_tiles", MAX_TILES) if "max_tiles" in own.data else None
        return cls(vision, decoder, image_token, tuple(ends), max_tiles=max_tiles)


def knowledge(data: dict[str, Any]) -> str | None:
    """What a model knows, in one plain sentence of its own; None where its ``config.json`` does not say.

    ``"phantom_edge": {"knows": "…"}`` is this toolkit's own field. Raises :class:`InputError` for anything
    but a text of at most 200 characters without control characters.

    >>> from phantom_edge.checkpoint.config import knowledge
    >>> knowledge({"phantom_edge": {"knows": "Coloured shapes on plain paper."}})
    'Coloured shapes on plain paper.'
    """
    own = data.get(OWN_SECTION)
    value = own.get("knows") if isinstance(own, dict) else None
    if value is None:
        return None
    try:
        return from_json(_Knowledge, {"knows": value}).knows
    except InputError as error:
        raise InputError(f"config.json {OWN_SECTION}: {error}") from None


@dataclass(frozen=True)
class _Knowledge:
    """The section's field, for its limits."""

    knows: Sentence


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


N = TypeVar("N", int, float)


class _Fields:
    """Typed access to one JSON object, with errors that name the field."""

    def __init__(self, data: dict[str, Any], where: str):
        self.data, self.where = data, where

    def section(self, name: str) -> _Fields:
        value = self.data.get(name)
        if not isinstance(value, dict):
            raise InputError(f"{self.where}: {name} is missing")
        return _Fields(value, f"{self.where} {name}")

    def size(self, name: str, largest: int = MAX_DIMENSION) -> int:
        """A dimension: an integer from 1 to ``largest``."""
        value = self.number(name, int)
        if not 1 <= value <= largest:
            raise InputError(f"{self.where}: {name} is {shown(value)}, expected 1 to {largest}")
        return value

    def number(self, name: str, kind: type[N]) -> N:
        value = self.data.get(name)
        if value is None:
            raise InputError(f"{self.where}: {name} is missing")
        if not (_is_int(value) or (kind is float and isinstance(value, float))):
            raise InputError(f"{self.where}: {name} is {shown(value)}, expected a number")
        return kind(value)

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """One number for each pair of a head's dimensions."""
        values = self.data.get(name)
        if not isinstance(values, list) or len(values) != count:
            raise InputError(f"{self.where}: {name} must list {count} numbers, half the head dimension")
        if odd := [v for v in values if not _is_int(v) and not isinstance(v, float)]:
            raise InputError(f"{self.where}: {name} holds {shown(odd[0])}, expected numbers")
        return tuple(float(v) for v in values)

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.data.get(name, default)
        if value not in allowed:
            raise InputError(f"{self.where}: {name} is {shown(value)}, expected one of {', '.join(allowed)}")
        return str(value)

    def flag(self, name: str) -> bool:
        """True or false; absent and null are false."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, bool):
            raise InputError(f"{self.where}: {name} is no boolean; write true or false")
        return bool(value)

    def off(self, *names: str) -> None:
        """Refuse features that the published sizes do not use and that nothing here computes."""
        for name in names:
            if self.data.get(name):
                raise InputError(f"{self.where}: {name} is set, which Phantom's published sizes do not use")


def _divides(where: str, whole: tuple[str, int], part: tuple[str, int]) -> None:
    if whole[1] % part[1]:
        raise InputError(f"{where}: {whole[0]} {whole[1]} is no multiple of {part[0]} {part[1]}")


def _vision(f: _Fields) -> VisionConfig:
    f.off("qk_normalization")
    f.choice("norm_type", ("layer_norm",))
    f.choice("hidden_act", ("gelu",))
    config = VisionConfig(
        hidden_size=f.size("hidden_size"),
        intermediate_size=f.size("intermediate_size"),
        layers=f.size("num_hidden_layers", MAX_LAYERS),
        heads=f.size("num_attention_heads"),
        image_size=f.size("image_size"),
        patch_size=f.size("patch_size"),
        layer_norm_eps=f.number("layer_norm_eps", float),
        qkv_bias=f.flag("qkv_bias"),
    )
    _divides(f.where, ("hidden_size", config.hidden_size), ("num_attention_heads", config.heads))
    _divides(f.where, ("image_size", config.image_size), ("twice patch_size", 2 * config.patch_size))
    return config


def _decoder(f: _Fields) -> DecoderConfig:
    kind = f.choice("model_type", DECODER_TYPES)
    f.off("use_sliding_window", "bias", "attention_bias")
    f.choice("hidden_act", ("silu",))
    max_context = f.size("max_position_embeddings")
    hidden = f.size("hidden_size")
    heads, kv_heads = f.size("num_attention_heads"), f.size("num_key_value_heads")
    _divides(f.where, ("hidden_size", hidden), ("num_attention_heads", heads))
    _divides(f.where, ("num_attention_heads", heads), ("num_key_value_heads", kv_heads))
    if f.data.get("head_dim") not in (None, hidden // heads):
        raise InputError(f"{f.where}: head_dim contradicts {hidden} channels in {heads} heads")
    _refuse_windows(f, kind, max_context)
    return DecoderConfig(
        type=kind,
        hidden_size=hidden,
        intermediate_size=f.size("intermediate_size"),
        layers=f.size("num_hidden_layers", MAX_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        vocab_size=f.size("vocab_size"),
        rms_norm_eps=f.number("rms_norm_eps", float),
        tied_head=f.flag("tie_word_embeddings"),
        qkv_bias=kind == "qwen2",
        max_context=max_context,
        rope=_rope(f, hidden // heads, max_context),
    )


def _refuse_windows(f: _Fields, kind: str, max_context: int) -> None:
    """Raise :class:`InputError` for attention that does not reach back to the first token."""
    if kind == "phi3" and f.data.get("sliding_window") is not None:
        window = f.size("sliding_window")
        if window < max_context:
            raise InputError(
                f"{f.where}: sliding_window {window} is less than max_position_embeddings {max_context}, "
                "and Phantom's attention reaches back to the first token"
            )
    layers = f.data.get("layer_types")
    if isinstance(layers, list) and any(layer != "full_attention" for layer in layers):
        raise InputError(f"{f.where}: layer_types has others than full_attention, which Phantom does not use")


def _rope(f: _Fields, head_dim: int, max_context: int) -> RopeConfig:
    r = _Fields(rope_fields(f.data, f.where), f.where)
    theta, kind = r.number("rope_theta", float), r.data["type"]
    if kind == "default":
        return RopeConfig("default", theta, max_context, max_context)
    if kind == "dynamic":
        if r.data.get("original_max_position_embeddings", max_context) != max_context:
            raise InputError(
                f"{f.where}: original_max_position_embeddings contradicts max_position_embeddings "
                f"{max_context}, from which Phantom's dynamic rotary embedding grows"
            )
        return RopeConfig("dynamic", theta, max_context, max_context, factor=r.number("factor", float))
    short, long = (r.numbers(name, head_dim // 2) for name in ("short_factor", "long_factor"))
    original = r.size("original_max_position_embeddings")
    check_stretch(r.data, original, max_context, f.where)
    return RopeConfig("su", theta, original, max_context, short_factor=short, long_factor=long)
