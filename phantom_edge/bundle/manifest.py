"""The manifest of a bundle: what the folder holds, how to use it, how it was made and how it was verified.

It is the only contract between an export and what runs it, in four languages. ``manifest.schema.json`` is
generated from the classes here (``python -m phantom_edge.bundle.manifest``); the apps' readers keep to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from phantom_edge.checkpoint.config import Dimension, Layers, PhantomConfig, Sentence, Tiles, TokenId
from phantom_edge.checkpoint.origin import Origin
from phantom_edge.errors import InputError
from phantom_edge.images import check_tile_policy
from phantom_edge.model.bounds import FoldCertificate
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.records import from_json, json_schema, limits, to_json
from phantom_edge.report.report import Check, Report
from phantom_edge.system.reading import read_json
from phantom_edge.text.prompt import PromptTemplate

SCHEMA: Final = 2
MANIFEST: Final = "manifest.json"
SCHEMA_FILE: Final = Path(__file__).with_name("manifest.schema.json")
MAX_BYTES: Final = 16 << 20
MAX_SIZES: Final = 15
"""Further sizes of tiles; each is one more graph."""
FLOAT, INT8 = "float", "int8"

Sha256 = Annotated[str, limits(pattern="^[0-9a-f]{64}$", title="a SHA-256 in hexadecimal")]
_NAME: Final = r"(?!\.\.?(/|$))[^/\\:?#\u0000-\u001f]{1,200}"
_INSIDE: Final = f"^{_NAME}(/{_NAME})*$"
FilePath = Annotated[str, limits(pattern=_INSIDE, maxLength=400, title="a path that stays inside the bundle")]
Tokens = Annotated[int, limits(minimum=1, maximum=1 << 24)]


@dataclass(frozen=True)
class GraphFiles:
    """Where each graph lies below the bundle; several may lie in one file."""

    vision_encoder: FilePath
    """Tiles [T, 3, size, size] of RGB in 0..1 to image tokens [T, tokens, hidden]."""
    token_embedding: FilePath
    """Ids [1, S] to embeddings [1, S, hidden]."""
    text_decoder: FilePath
    """Embeddings [1, S, hidden] after what the KV cache holds to logits of the last position."""


@dataclass(frozen=True)
class ModelSource:
    """The checkpoint that was exported."""

    name: str
    """A folder, a Hugging Face id, or the embedded model's name."""
    parameters: int
    sha256: Mapping[str, Sha256]
    """Of ``config.json`` and of the weights, by file name; of a trimmed vocabulary also ``kept ids``."""
    origin: Origin | None = field(default=None, metadata={"optional": True})
    """Where it was opened, so that it is found again from any folder; absent in earlier bundles."""


@dataclass(frozen=True)
class TileSize:
    """A further size of tiles, with a vision encoder of its own over the weights of the first."""

    size: Dimension
    """Side of a tile in pixels."""
    tokens: Dimension
    """Image tokens of one tile."""
    vision_encoder: FilePath
    """Where its graph lies; in a file of several graphs it is ``vision_encoder_SIZE``."""


@dataclass(frozen=True)
class TilePolicy:
    """How a picture becomes tiles."""

    size: Dimension
    """Side of a tile in pixels."""
    tokens: Dimension
    """Image tokens of one tile."""
    max: Tiles
    """The most tiles that a picture is cut into, the thumbnail apart."""
    thumbnail: bool
    """Whether the whole picture follows as one more tile where there are several."""
    trained: Dimension | None = field(default=None, metadata={"optional": True})
    """Side of the tiles that the checkpoint was trained with, where ``size`` is another."""
    others: Annotated[tuple[TileSize, ...], limits(maxItems=MAX_SIZES)] = field(
        default=(), metadata={"optional": True}
    )
    """Further sizes that may be chosen instead of ``size``; absent in earlier bundles."""


@dataclass(frozen=True)
class TokenIds:
    """Ids of the tokens with a meaning of their own."""

    first: TokenId
    """The token that every prompt must begin with: its state is folded into constants."""
    image: TokenId
    """In the place of an image token."""
    end: Annotated[tuple[TokenId, ...], limits(minItems=1)]
    """Each ends an answer."""


@dataclass(frozen=True)
class DecoderShape:
    """What of the decoder's dimensions is seen from outside."""

    hidden: Dimension
    """Channels of an embedding and of an image token."""
    vocabulary: Dimension
    """Logits of one position."""
    layers: Layers
    kv_heads: Dimension
    cache_widths: tuple[Dimension, ...]
    """Channels of a cached key or value, layer by layer: the head dimension and the phantom's."""


@dataclass(frozen=True)
class TrimmedVocabulary:
    """What of the checkpoint's vocabulary is left; ``vocabulary.json`` lists the checkpoint's ids.

    Ids everywhere in the bundle are the new ones: the place in that list.
    """

    checkpoint: Dimension
    """Rows of the checkpoint's embedding."""
    kept: Dimension
    """Rows that are left."""
    measured_by: tuple[str, ...]
    """Names of presets, and of the files and folders whose texts it was measured on."""


@dataclass(frozen=True)
class Verification:
    """What ``phantom-edge verify`` measured on the files when the bundle was made."""

    ok: bool
    """Whether no check failed."""
    title: str
    facts: Mapping[str, str]
    groups: Mapping[str, tuple[Check, ...]]
    """Checks by the question that they answer."""

    @classmethod
    def of(cls, report: Report) -> Verification:
        groups = {question: tuple(checks) for question, checks in report.groups.items()}
        return cls(report.ok, report.title, report.facts, groups)


@dataclass(frozen=True)
class ModuleRow:
    """What became of one module.

    Errors are of its output over the calibration inputs, relative, in the root mean square.
    """

    name: str
    precision: str
    bytes: int
    before: float
    """Error of error-searched rounding."""
    after: float
    """Error of the method."""
    activation: float
    """Error of rounding the inputs alone to int8 per token."""
    outlier: float
    """The largest input channel over the median one."""
    scale: str = "none"
    """The scale that was folded into the layer before."""


@dataclass(frozen=True)
class CalibratedQuantization:
    """How calibration data chose the integers."""

    method: str
    """``rtn``, ``hqq``, ``awq``, ``gptq`` or ``gptq-awq``."""
    facts: Mapping[str, Any]
    """What was measured and on what, for people."""
    modules: tuple[ModuleRow, ...]
    integers: Mapping[str, Sha256]
    """Of each module's integers and scales."""


@dataclass(frozen=True)
class CompiledGraphs:
    """Graphs that were compiled for one chip.

    Each file is an ONNX graph around the chip's context binary, which lies beside it.
    """

    architecture: Annotated[int, limits(minimum=1, maximum=1000)]
    """Of the chip's Hexagon processor, such as 75."""
    model: Annotated[int, limits(minimum=1, maximum=1 << 16)]
    """Qualcomm's number of the chip, the QNN provider's ``soc_model``."""
    graphs: Mapping[str, FilePath]
    """By the same names as the uncompiled ones."""
    compiler: str
    """Version of the package ``onnxruntime-qnn`` that compiled them."""
    seconds: Annotated[float, limits(minimum=0)]
    """That compiling took."""


@dataclass(frozen=True)
class Npu:
    """Graphs that a Snapdragon's NPU runs, through ONNX Runtime's QNN provider.

    A device whose chip is among ``compiled`` loads those files; one of the ``architectures`` compiles
    ``graphs`` at first use and keeps the result; any other leaves all of it to the bundle for the CPU.
    """

    graphs: Mapping[str, FilePath]
    """Uncompiled graphs: ``vision_encoder`` and, where the NPU decodes too, ``prefill`` and ``decode``."""
    activations: Annotated[str, limits(enum=("uint16", "fp16"))]
    """What values are rounded to between two operations; a few are in fp16 in both cases."""
    ranges: Sha256 | None
    """Of the ranges of all values in ``uint16``; null in ``fp16``."""
    architectures: Annotated[tuple[Annotated[int, limits(minimum=1, maximum=1000)], ...], limits(minItems=1)]
    """Hexagon versions that take these graphs whole."""
    options: Mapping[str, str]
    """Options of the QNN provider with which the graphs were verified."""
    compiled: Mapping[str, CompiledGraphs]
    """By the chip's name as Android's ``Build.SOC_MODEL`` has it, such as ``SM8650``."""


@dataclass(frozen=True)
class FileEntry:
    """One file's size and hash."""

    bytes: Annotated[int, limits(minimum=0)]
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle is: how to use it, how it was made, how it was verified, and the hash of every file.

    >>> manifest = pe.Manifest.read(Path("nano-desktop/manifest.json"))
    >>> manifest.target, manifest.config.decoder.type, manifest.graphs.text_decoder
    ('desktop', 'qwen2', 'onnx/decoder_model_merged_q4.onnx')
    """

    schema: Annotated[int, limits(enum=(SCHEMA,))] = SCHEMA
    """The version of this layout."""
    producer: Mapping[str, str]
    """Versions of this toolkit, of Python and of the libraries that made it."""
    target: str
    """What it was made for, such as ``ios`` or ``web``."""
    browser: bool
    """Whether it was made for browsers: each graph has weights of its own, and the caller makes the cache."""
    format: str
    """Of the graphs, such as ``coreml``, ``executorch`` or ``onnx``."""
    graphs: GraphFiles
    counts: Mapping[str, Mapping[str, int]]
    """Operations by graph and type that were counted in the artifact."""
    source: ModelSource
    knows: Sentence | None = field(default=None, metadata={"optional": True})
    """What the model knows, in one plain sentence of its own; absent where it does not say."""
    config: PhantomConfig
    """The configuration of the model that was exported."""
    prompt: PromptTemplate
    tiles: TilePolicy
    ids: TokenIds
    shape: DecoderShape
    vocabulary: TrimmedVocabulary | None = field(default=None, metadata={"optional": True})
    """What was left out of the checkpoint's vocabulary; absent where nothing was."""
    context: Tokens
    """Tokens that the KV cache holds."""
    chunk: Tokens
    """The most tokens that one call of the decoder takes."""
    kv_cache: Annotated[str, limits(enum=(FLOAT, INT8))]
    """What the KV cache holds: ``float``, or ``int8`` with a scale for every channel."""
    cache_scales: Sha256 | None = field(default=None, metadata={"optional": True})
    """Of the scales of an int8 cache; absent for a cache in float."""
    npu: Npu | None = field(default=None, metadata={"optional": True})
    """What runs on an NPU instead of the CPU; absent where nothing does."""
    recipe: Recipe
    """What each module's weight became."""
    fallbacks: Mapping[str, str]
    """Modules that became something else than the recipe says, with the reason."""
    fold: FoldCertificate
    notes: tuple[str, ...]
    """Where the artifact deviates from the model, in sentences."""
    verification: Verification | None
    """Null where it was switched off."""
    quantization: CalibratedQuantization | None
    """Null where weights were rounded to the nearest."""
    files: Mapping[FilePath, FileEntry]
    """Every file of the bundle but the manifest, by its path."""

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Parse a ``manifest.json``.

        Raises :class:`InputError`, naming file and field, for another schema and for a wrong field.
        """
        values = read_json(path, MAX_BYTES)
        schema = values.get("schema")
        if type(schema) is not int or schema < 1:
            raise InputError(f"{path}: not the manifest of a phantom-edge bundle")
        if schema > SCHEMA:
            newer = f"schema {schema} is newer than this phantom-edge reads ({SCHEMA})"
            raise InputError(f"{path}: {newer}; update it")
        if schema < SCHEMA:
            raise InputError(
                f"{path}: schema {schema} is of an earlier phantom-edge, and this one reads {SCHEMA}; "
                "export the bundle again"
            )
        try:
            manifest = from_json(cls, values)
            manifest._check_agreement()
        except InputError as error:
            raise InputError(f"{path}: {error}; export the bundle again") from None
        return manifest

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps(to_json(self), indent=2, ensure_ascii=False) + "\n"

    def _check_agreement(self) -> None:
        """Raise :class:`InputError` for a field that says another thing than the model's configuration."""
        config, decoder = self.config, self.config.decoder
        for name, value, expected in (
            ("tiles.size", self.tiles.size, config.tile_size),
            ("tiles.tokens", self.tiles.tokens, config.tokens_per_tile),
            ("ids.image", self.ids.image, config.image_token_id),
            ("ids.end", self.ids.end, config.end_ids),
            ("shape.hidden", self.shape.hidden, decoder.hidden_size),
            ("shape.vocabulary", self.shape.vocabulary, decoder.vocab_size),
            ("shape.layers", self.shape.layers, decoder.layers),
            ("shape.kv_heads", self.shape.kv_heads, decoder.kv_heads),
            ("the length of shape.cache_widths", len(self.shape.cache_widths), decoder.layers),
        ):
            if value != expected:
                raise InputError(f"{name} is {value}, and config makes it {expected}")
        heads, widths = decoder.head_dim, self.shape.cache_widths
        if any(not heads <= width <= 2 * heads for width in widths):
            raise InputError(f"shape.cache_widths are not all in {heads}..{2 * heads}, as config makes them")
        if self.vocabulary is not None and self.vocabulary.kept != decoder.vocab_size:
            raise InputError(
                f"vocabulary.kept is {self.vocabulary.kept}, and config makes it {decoder.vocab_size}"
            )
        if self.chunk > self.context:
            raise InputError(f"chunk {self.chunk} is more than the context of {self.context}")
        self._check_tiles()
        if odd := [n for n in (self.ids.first, self.ids.image, *self.ids.end) if n >= decoder.vocab_size]:
            raise InputError(f"ids: {odd[0]} is no id below a vocabulary of {decoder.vocab_size}")

    def _check_tiles(self) -> None:
        """Raise :class:`InputError` for sizes of tiles that no picture has, or that config contradicts."""
        tiles, seen = self.tiles, {self.tiles.size}
        check_tile_policy(tiles.size, tiles.max)
        for n, other in enumerate(tiles.others):
            at, expected = f"tiles.others[{n}]", self.config.tokens_of(other.size)
            check_tile_policy(other.size, tiles.max)
            if other.size in seen:
                raise InputError(f"{at}.size is {other.size}, which another one is already")
            if other.size % self.config.tile_step:
                raise InputError(f"{at}.size is {other.size}, no multiple of {self.config.tile_step}")
            if other.tokens != expected:
                raise InputError(f"{at}.tokens is {other.tokens}, and config makes it {expected}")
            seen.add(other.size)


def schema_text() -> str:
    """What ``manifest.schema.json`` must hold."""
    return json.dumps(json_schema(Manifest), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
