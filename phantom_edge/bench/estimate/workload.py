"""What is estimated: a bundle that exists, or one that a checkpoint would become. No weight is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phantom_edge.bench.estimate.count import Model, Work, modelled
from phantom_edge.bench.runs import model_facts
from phantom_edge.bundle.folder import TOKENIZER, Bundle, is_bundle
from phantom_edge.bundle.manifest import INT8
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.pretrained import NANO, NANO_NAME, Pretrained
from phantom_edge.checkpoint.refusals import refuse_bundle
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.rope import check_context
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.runtime.traces import QUESTION
from phantom_edge.targets import format_for, target_for
from phantom_edge.text.tokenizer import Tokenizer

TEXT_TOKENS = 20  # of the template and the golden question, where no tokenizer is at hand
CONFIG = "config.json"
HEAD = "text_decoder.head.weight"


@dataclass(frozen=True)
class Workload:
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
        rules = self.model.recipe.rules
        groups = {p.group for p in (rule.precision for rule in rules) if p.bits == 4 and p.group}
        names = {"int4": f"int4:{min(groups)}" if groups else "int4", "int8": "int8"}
        names["float"] = str(self.model.recipe.float_type)
        head = self.model.kind(HEAD, self._head_shape)
        parts = {"layers": self._without_head().main, "head": head, "vision": self.model.vision().main}
        return {part: names[kind] for part, kind in parts.items()}

    @property
    def _head_shape(self) -> tuple[int, int]:
        return self.model.spec.config.decoder.vocab_size, self.model.spec.config.decoder.hidden_size

    def _without_head(self) -> Work:
        work, shape = self.model.decoder(1, 0), self._head_shape
        work.weights[self.model.kind(HEAD, shape)] -= self.model.bytes(HEAD, shape)
        return work

    @classmethod
    def of_bundle(cls, folder: str | Path) -> Workload:
        """A bundle, by its manifest and the sizes of its files."""
        if not is_bundle(folder):
            raise InputError(f"{folder}: not a bundle; make one with `phantom-edge export`, or use --model")
        bundle = Bundle.open(folder, check=False)
        m = bundle.manifest
        dims = tuple(width - m.config.decoder.head_dim for width in m.shape.cache_widths)
        model = Model(FoldedSpec(m.config, dims), m.recipe, modelled(m.format), m.kv_cache == INT8)
        path = bundle.folder / TOKENIZER
        text = len(Tokenizer.from_file(path).encode(m.prompt.render([(QUESTION, None)], 1))) - 1
        return cls(model, m.context, m.chunk, bundle.bytes, text, True, model_facts(bundle), path)

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
    ) -> Workload:
        """What ``phantom-edge export`` would make of a checkpoint; only its ``config.json`` is read."""
        chosen, name = target_for(target), NANO_NAME if model is None else model
        config, text = _config(model)
        recipe, folded = load_recipe(quant or chosen.recipe), Fold.parse(fold)
        length = min(chosen.context, config.decoder.rope.original_context) if context is None else context
        check_context(config.decoder.rope, length)
        spec = FoldedSpec(config, folded.phantom_dims(config))
        made = Model(spec, recipe, modelled(format_for(format or chosen.format).name))
        facts: dict[str, Any] = {"name": Path(name).name, "target": chosen.name, "format": made.format}
        facts |= {"recipe": recipe.name, "fold": str(folded), "context": length}
        return cls(made, length, min(chosen.chunk, length), made.stored_bytes(), text, False, facts)


def _config(model: str | None) -> tuple[PhantomConfig, int]:
    """Config, and tokens of the question where the tokenizer is at hand."""
    folder = NANO if model is None or model == NANO_NAME else Path(model)
    refuse_bundle(folder)
    if (folder / CONFIG).is_file():
        config = PhantomConfig.from_file(folder / CONFIG)
        if not (folder / "tokenizer.json").is_file():
            return config, TEXT_TOKENS
    source = Pretrained.open(model)
    return source.config, len(source.tokenizer.encode(source.template.render([(QUESTION, None)], 1))) - 1
