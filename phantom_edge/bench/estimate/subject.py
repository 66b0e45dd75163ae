"""What is estimated: a bundle that exists, or one that a checkpoint would become. No weight is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phantom_edge.bench.estimate.count import Model, Work, modelled
from phantom_edge.bench.facts import model_facts
from phantom_edge.bundle.folder import TOKENIZER, Bundle, is_bundle
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.pretrained import NANO, NANO_NAME, Pretrained
from phantom_edge.errors import InputError
from phantom_edge.files import file_sha256
from phantom_edge.model.fold import Fold
from phantom_edge.model.rope import check_context
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import Recipe, load_recipe
from phantom_edge.runtime.traces import QUESTION
from phantom_edge.targets import format_for, target_for
from phantom_edge.text.tokenizer import Tokenizer

TEXT_TOKENS = 20  # of the template and the golden question, where no tokenizer is at hand
CONFIG = "config.json"


@dataclass(frozen=True)
class Subject:
    """A model as it would be shipped: what its calls do, how long its cache is, what its files weigh.

    ``built`` says that ``bytes`` are those of files that exist, ``tokenizer`` being one of them.
    """

    model: Model
    context: int
    chunk: int
    bytes: int
    text_tokens: int
    built: bool
    facts: dict[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None

    def prompt_tokens(self, tiles: int) -> int:
        """Tokens of the golden question about a picture of so many tiles."""
        return tiles * self.model.spec.config.tokens_per_tile + self.text_tokens

    def kinds(self) -> dict[str, str]:
        """What most bytes of the layers, of the head and of the vision encoder are, as recipes name it."""
        groups = {r.precision.group for r in self.model.recipe.rules if r.precision.bits == 4}
        names = {"int4": f"int4:{min(groups)}" if groups else "int4", "int8": "int8"}
        names["float"] = str(self.model.recipe.float_type)
        head = self.model.kind("text_decoder.head.weight", (self._vocabulary, self._hidden))
        parts = {
            "layers": self._main(self._without_head()),
            "head": head,
            "vision": self._main(self.model.vision()),
        }
        return {part: names[kind] for part, kind in parts.items()}

    @property
    def _vocabulary(self) -> int:
        return self.model.spec.config.decoder.vocab_size

    @property
    def _hidden(self) -> int:
        return self.model.spec.config.decoder.hidden_size

    def _without_head(self) -> Work:
        work, name = self.model.decoder(1, 0), "text_decoder.head.weight"
        shape = (self._vocabulary, self._hidden)
        work.weights[self.model.kind(name, shape)] -= self.model.bytes(name, shape)
        return work

    @staticmethod
    def _main(work: Work) -> str:
        return max(work.weights, key=lambda kind: work.weights[kind])

    @classmethod
    def of_bundle(cls, folder: str | Path) -> Subject:
        """A bundle: its manifest, and the config of the checkpoint that it names, or of its own artifact."""
        if not is_bundle(folder):
            raise InputError(f"{folder}: not a bundle; make one with `phantom-edge export`, or use --model")
        bundle = Bundle.open(folder, check=False)
        m = bundle.manifest
        config = _config_of(bundle)
        try:
            dims = tuple(width - config.decoder.head_dim for width in m["shape"]["cache_widths"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder}: the manifest lacks {error}; export the bundle again") from None
        spec, recipe = FoldedSpec(config, dims), Recipe.from_dict(m["recipe"])
        model = Model(spec, recipe, modelled(m["format"]), m.get("kv_cache") == "int8")
        path = bundle.folder / TOKENIZER
        text = len(Tokenizer.from_file(path).encode(bundle.template.render([(QUESTION, None)], 1))) - 1
        return cls(model, m["context"], m["chunk"], bundle.bytes, text, True, model_facts(bundle), path)

    @classmethod
    def of_model(
        cls,
        model: str | None,
        *,
        target: str,
        format: str | None = None,
        quant: str | None = None,
        fold: str = "exact",
        context: int | None = None,
    ) -> Subject:
        """What ``phantom-edge export`` would make of a checkpoint; of a folder only ``config.json`` is
        read.
        """
        chosen, name = target_for(target), NANO_NAME if model is None else model
        config, text = _config(model)
        recipe, folded = load_recipe(quant or chosen.recipe), Fold.parse(fold)
        length = min(chosen.context, config.decoder.rope.original_context) if context is None else context
        check_context(config.decoder.rope, length)
        spec = FoldedSpec(config, folded.phantom_dims(config))
        made = Model(spec, recipe, modelled(format_for(format or chosen.format).name))
        facts = {"name": Path(name).name, "target": chosen.name, "format": made.format, "recipe": recipe.name}
        facts |= {"fold": str(folded), "context": length}
        return cls(made, length, min(chosen.chunk, length), made.stored_bytes(), text, False, facts)


def _config(model: str | None) -> tuple[PhantomConfig, int]:
    """Config, and tokens of the question where the tokenizer is at hand."""
    folder = NANO if model is None or model == NANO_NAME else Path(model)
    if (folder / CONFIG).is_file():
        config = PhantomConfig.from_file(folder / CONFIG)
        if not (folder / "tokenizer.json").is_file():
            return config, TEXT_TOKENS
    source = Pretrained.open(model)
    return source.config, len(source.tokenizer.encode(source.template.render([(QUESTION, None)], 1))) - 1


def _config_of(bundle: Bundle) -> PhantomConfig:
    """The config that a bundle was made with: from its checkpoint, or worked out from its integers."""
    source = bundle.manifest["source"]
    name = str(source.get("name", ""))
    path = (NANO if name == NANO_NAME else Path(name)) / CONFIG
    if path.is_file() and source.get("sha256", {}).get(CONFIG) == file_sha256(path):
        return PhantomConfig.from_file(path)
    return config_of_artifact(bundle)


def config_of_artifact(bundle: Bundle) -> PhantomConfig:
    """Dimensions from the shapes of an artifact's quantised matrices and its manifest: enough to count with.

    Raises :class:`InputError` when the matrices that tell are not quantised: then the checkpoint is needed.
    """
    m = bundle.manifest
    stored = {n: w.shape for n, w in format_for(m["format"]).stored_weights(bundle.folder).items()}
    try:
        qkv, gate_up = stored["text_decoder.layers.0.qkv"], stored["text_decoder.layers.0.gate_up"]
        patch_side = m["tiles"]["size"] // (2 * round(m["tiles"]["tokens"] ** 0.5))
        hidden, kv_heads = m["shape"]["hidden"], m["shape"]["kv_heads"]
        head_dim = (qkv[0] - hidden) // (2 * kv_heads)
        width = stored["vision_encoder.layers.0.qkv"][1]
        llm = {
            "model_type": m["source"]["decoder"],
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": gate_up[0] // 2,
            "num_hidden_layers": m["shape"]["layers"],
            "num_attention_heads": hidden // head_dim,
            "num_key_value_heads": kv_heads,
            "vocab_size": m["shape"]["vocabulary"],
            "max_position_embeddings": m["context"],
            "rms_norm_eps": 1e-6,
            "rope_theta": 1e6,
            "tie_word_embeddings": False,
        }
        vision = {
            "hidden_act": "gelu",
            "norm_type": "layer_norm",
            "hidden_size": width,
            "intermediate_size": stored["vision_encoder.layers.0.fc1"][0],
            "num_hidden_layers": len(
                {n.split(".")[2] for n in stored if n.startswith("vision_encoder.layers.")}
            ),
            "num_attention_heads": max(1, width // 64),
            "image_size": m["tiles"]["size"],
            "patch_size": patch_side,
            "layer_norm_eps": 1e-6,
            "qkv_bias": True,
        }
        ids = {"image_token_index": m["ids"]["image"], "eos_token_id": m["ids"]["end"]}
    except (KeyError, TypeError, ZeroDivisionError) as error:
        name = m["source"].get("name", "?")
        raise InputError(
            f"{bundle.folder}: its checkpoint {name} is not at hand and its weights do not tell {error}; "
            "give the checkpoint with --model and the same --target and --quant"
        ) from None
    top = {"model_type": "phantom", "downsample_ratio": 0.5, "llm_config": llm, "vision_config": vision}
    return PhantomConfig.from_dict(json.loads(json.dumps(top | ids)))
