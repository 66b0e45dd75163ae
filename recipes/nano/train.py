"""How the embedded Phantom-Nano is made, from nothing, on a CPU.

    python -m recipes.nano.train DIR            # about two hours on two quiet cores; resumes if it is stopped

The vision encoder alone, on what its patches show; everything, on questions and their answers; then the two
steps of Phantom Optimization: L_PO while decoder and vision encoder are frozen, and supervised with
everything. A second round practises what the first was weak at, and ends with the same two steps.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.key_map import tensor_sources
from phantom_edge.checkpoint.synthetic import (
    AMPLIFY,
    END_TOKENS,
    IMAGE_TOKENS,
    SPECIAL_TOKENS,
    TEXT,
    Sizes,
    published_config,
)
from phantom_edge.scenes import make_scene
from phantom_edge.text.packing import Packer
from phantom_edge.text.prompt import template_for
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.training.objective import mean_by_answer, preference_loss, sft_loss, token_log_probs
from phantom_edge.tune.save import save_checkpoint
from phantom_edge.tune.trainable import PHANTOM_PARTS, TrainableModel
from recipes.nano.dense import DenseHeads
from recipes.nano.mixture import Mixture, SceneBatch, batches

SIZES = Sizes(
    hidden=192, ffn=512, layers=4, heads=6, kv_heads=2, vocabulary=768,
    vision_hidden=192, vision_ffn=768, vision_layers=8, vision_heads=3, image_size=192, patch_size=16,
)  # fmt: skip
SAVE_EVERY = 60.0  # seconds between two states on disk
VALIDATION_BATCHES = 8
# Letters and digits stand alone, so that a sign is spelt; other words may become one token, with the space
# before them.
SPLIT = r" ?[A-Z]?[a-z]+| ?[A-Z]|[0-9]| ?[^\sA-Za-z0-9]+|\s+"


@dataclass(frozen=True)
class Stage:
    """One stage: what it optimises (``vision``, ``answers`` or ``preference``), for how long, and at which
    rate.
    """

    name: str
    goal: str
    steps: int
    lr: float
    batch: int = 32
    dense: float = 0.0  # weight of the dense loss beside the answers'
    warmup: int = 100
    floor: float = 0.02  # of the learning rate, at the end of its cosine
    kinds: tuple[tuple[str, float], ...] = ()  # shares of the kinds of scene; empty: the usual ones


# Reading is learnt from pictures of text, of which the usual shares hold few.
HARD = (("objects", 44), ("sign", 18), ("display", 24), ("gauge", 6), ("arrow", 3), ("mixed", 5))
RECIPE = (
    Stage("see", "vision", steps=1500, lr=4e-3),
    Stage("answer", "answers", steps=3600, lr=3e-3, dense=1.0),
    Stage("prefer", "preference", steps=200, lr=5e-4),
    Stage("settle", "answers", steps=400, lr=5e-4, dense=0.1),
    Stage("practise", "answers", steps=4200, lr=2e-3, dense=0.5, kinds=HARD),
    Stage("prefer again", "preference", steps=200, lr=3e-4),
    Stage("settle again", "answers", steps=300, lr=3e-4, dense=0.1),
)


def write_nano_tokenizer(folder: Path, sizes: Sizes = SIZES) -> dict[str, int]:
    """Train the byte-level BPE on the scenes' own words and write it; the ids of its special tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    special = SPECIAL_TOKENS["qwen2"] + IMAGE_TOKENS
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    triples = [triple for i in range(1500) for triple in make_scene("train", i).triples()]
    words = [f"user\n{t.question}assistant\n{t.answer}\n{t.wrong}" for t in triples]
    tokenizer.train_from_iterator(words + TEXT.splitlines(keepends=True) * 20, trainer)
    spare = sizes.vocabulary - tokenizer.get_vocab_size()
    tokenizer.add_tokens([AddedToken(f"<|spare_{i}|>", special=True, normalized=False) for i in range(spare)])
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_TOKENS["qwen2"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=1) + "\n")
    return {token: tokenizer.token_to_id(token) for token in special}


def write_form(folder: Path, sizes: Sizes = SIZES) -> PhantomConfig:
    """Write tokenizer and ``config.json`` of a Phantom-Nano that is not trained yet."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = write_nano_tokenizer(folder, sizes)
    config = published_config(sizes, ids["<IMG_CONTEXT>"], ids[END_TOKENS[sizes.decoder]])
    config["phantom_edge"] = {"max_tiles": 1}  # all it ever sees in training
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return PhantomConfig.from_dict(config)


def initial_weights(config: PhantomConfig, seed: int) -> dict[str, torch.Tensor]:
    """Weights to begin with, by canonical name.

    The phantom's output matrices begin ``AMPLIFY`` times larger than the others, because eta = 1e-4 would
    otherwise make the phantom dimension of so small a model too faint to learn anything.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: _initial(name, shape, config, generator)
        for name, source in tensor_sources(config).items()
        for shape in [(sum(s[0] for _, s in source.parts), *source.parts[0][1][1:])]
    }
    if config.decoder.tied_head:
        weights["text_decoder.head.weight"] = weights["token_embedding.weight"]
    return weights


def _initial(
    name: str, shape: tuple[int, ...], config: PhantomConfig, generator: torch.Generator
) -> torch.Tensor:
    if name.endswith("position_embedding"):
        return 0.5 * _sine_positions(config.vision.grid, config.vision.hidden_size)
    if "norm" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name.endswith((".scale1", ".scale2")):
        return torch.full(shape, 0.5)
    if name.endswith("bias"):
        return torch.zeros(shape)
    draw = torch.randn(shape, generator=generator)
    if name.endswith(("class_embedding", "token_embedding.weight", "head.weight")):
        return 0.05 * draw
    fan_in = math.prod(shape[1:])
    deep = 2 * (config.vision.layers if name.startswith("vision") else config.decoder.layers)
    if ".phantom." in name:
        return draw * fan_in**-0.5 * (AMPLIFY if name.endswith(".o.weight") else 1.0)
    ends_branch = ".layers." in name and name.endswith(
        (".proj.weight", ".fc2.weight", ".o.weight", ".down.weight")
    )
    return draw * fan_in**-0.5 * (deep**-0.5 if ends_branch else 1.0)


def _sine_positions(grid: int, width: int) -> torch.Tensor:
    """Sines and cosines of row and column [1, 1 + grid * grid, width]; the class token's row is zero."""
    frequency = torch.exp(torch.arange(width // 4) * (-math.log(100.0) / (width // 4)))
    at = torch.arange(grid).float()[:, None] * frequency  # [grid, width / 4]
    axis = torch.cat([at.sin(), at.cos()], dim=-1)  # [grid, width / 2]
    rows, columns = axis[:, None].expand(-1, grid, -1), axis[None].expand(grid, -1, -1)
    places = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros(1, width), places])[None]


class NanoTraining:
    """The model, its heads and its optimiser, taken through the stages; a folder holds the state between
    runs.
    """

    def __init__(self, folder: Path, *, seed: int = 0, phantom: bool = True, sizes: Sizes = SIZES):
        self.folder, self.seed = folder, seed
        self.config = write_form(folder, sizes)
        self.model = TrainableModel(self.config, initial_weights(self.config, seed), phantom=phantom)
        self.heads = DenseHeads(self.config.vision.hidden_size, torch.Generator().manual_seed(seed + 1))
        tokenizer = Tokenizer.from_checkpoint(folder)
        self.packer = Packer(template_for(self.config.decoder.type), tokenizer, self.config.tokens_per_tile)
        self.log: list[dict] = []
        self.save_every = SAVE_EVERY

    def mixture(self, stage: Stage, split: str = "train") -> Mixture:
        return Mixture(
            self.packer,
            self.config.tile_size,
            self.config.vision.grid,
            split=split,
            batch=stage.batch,
            questions={"vision": 0, "answers": 8, "preference": 4}[stage.goal],
            tokens={"vision": 0, "answers": 150, "preference": 220}[stage.goal],
            pairs=stage.goal == "preference",
            seed=self.seed,
            kinds=dict(stage.kinds) or None,
        )

    def learning(self, stage: Stage) -> dict[str, torch.Tensor]:
        """What a stage trains. Preference: the projector, the phantom cross-attention and the gates, as
        published.
        """
        named = self.model.weights
        heads = {f"heads.{name}": tensor for name, tensor in self.heads.weights.items()}
        if stage.goal == "vision":
            return heads | {
                n: t for n, t in named.items() if n.startswith("vision_encoder") and "projector" not in n
            }
        if stage.goal == "preference":
            return {
                n: t for n, t in named.items() if "projector" in n or any(part in n for part in PHANTOM_PARTS)
            }
        return named | (heads if stage.dense else {})

    def optimizers(self, learning: dict[str, torch.Tensor]) -> list[torch.optim.Optimizer]:
        """Muon for the matrices of the layers and the projector, AdamW for all else.

        Muon (Jordan et al. 2024, with the step size of arXiv 2502.16982) needs about a third of AdamW's steps
        here.
        """
        kinds: dict[str, list[torch.Tensor]] = {"muon": [], "amplified": [], "plain": []}
        for name, tensor in learning.items():
            phantom = any(part in name for part in PHANTOM_PARTS)
            matrix = tensor.dim() == 2 and (".layers." in name or ".projector." in name)
            amplified = ".phantom." in name and name.endswith(".o.weight")
            kinds["amplified" if amplified else "muon" if matrix and not phantom else "plain"].append(tensor)
        groups = [
            {"params": kinds["plain"], "factor": 0.3},
            {"params": kinds["amplified"], "factor": 0.3 * AMPLIFY},  # steps in proportion to their size
        ]
        groups = [group for group in groups if group["params"]]
        # eps far below the gradients that eta lets through to the phantom's weights
        adam = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-14, weight_decay=0.0, fused=True)
        matrices = [{"params": kinds["muon"], "factor": 1.0}]
        return [adam, torch.optim.Muon(matrices, lr=1.0, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")]

    def losses(self, stage: Stage, batch: SceneBatch) -> dict[str, torch.Tensor]:
        """The stage's loss terms; their sum is what it descends."""
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.vision_features(batch.tiles())
            out = {}
            if stage.goal == "vision" or stage.dense:
                weight = 1.0 if stage.goal == "vision" else stage.dense
                out["dense"] = weight * self.heads.loss(features, batch.dense)
            if batch.packed is None:
                return out
            logits = self.logits(features, batch.packed)
        log_probs = token_log_probs(logits, batch.packed.targets)
        if stage.goal != "preference":
            return out | {"sft": sft_loss(log_probs)}
        means = mean_by_answer(log_probs, batch.packed.answers, batch.packed.segments)
        right = batch.packed.answers % 2 == 0
        return out | {
            "sft": sft_loss(log_probs[right]),
            "preference": preference_loss(means[0::2], means[1::2]),
        }

    def logits(self, features: torch.Tensor, packed) -> torch.Tensor:
        """Logits [N, vocab] at the positions whose next token is an answer's."""
        embeds = self.model.embed(packed.ids)
        image = self.model.project(features)
        places = packed.ids == self.config.image_token_id
        embeds = embeds.to(image.dtype).masked_scatter(places[..., None], image)
        hidden = self.model.hidden(embeds, packed.positions, packed.mask)
        return self.model.head(hidden.flatten(0, 1)[packed.sources])

    def run(self, recipe: tuple[Stage, ...], report: Callable[[str], None] = print, workers: int = 1) -> None:
        """Go through the stages, from where the folder's state left off."""
        first, start, moments = self._load()
        for number, stage in enumerate(recipe):
            if number >= first:
                self._run_stage(number, stage, start if number == first else 0, moments, report, workers)
                moments = {}

    def _run_stage(self, number: int, stage: Stage, start: int, moments: dict, report, workers: int) -> None:
        learning = self.learning(stage)
        for name, tensor in (*self.model.weights.items(), *self.heads.weights.items()):
            tensor.requires_grad_(name in learning or f"heads.{name}" in learning)
        optimizers = self.optimizers(learning)
        _restore(optimizers, learning, moments, start)
        saved = told = time.monotonic()
        offset = 1_000_000 * number  # stages never share a scene
        steps = range(offset + start, offset + stage.steps)
        for step, batch in enumerate(batches(self.mixture(stage), steps, workers), start):
            terms = self.losses(stage, batch)
            sum(terms.values()).backward()
            norm = torch.nn.utils.clip_grad_norm_(list(learning.values()), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate(stage, step) * group["factor"]
                optimizer.step()
                optimizer.zero_grad()
            self.log.append(
                {"stage": stage.name, "step": step, **{k: round(v.item(), 4) for k, v in terms.items()}}
            )
            if step % 50 == 0:
                now = time.monotonic()
                report(
                    f"{stage.name} {step}/{stage.steps} {_mean(self.log[-50:])} norm {norm:.2f} "
                    f"{now - told:.1f} s"
                )
                told = now
            if stage.goal != "vision" and (step + 1) % 500 == 0:
                report(f"{stage.name} {step + 1}: {self.accuracy()}")
            if time.monotonic() - saved >= self.save_every or step + 1 == stage.steps:
                done = step + 1 == stage.steps
                self._save(
                    number + done, 0 if done else step + 1, {} if done else _moments(optimizers, learning)
                )
                saved = time.monotonic()

    @torch.no_grad()
    def accuracy(self, count: int = VALIDATION_BATCHES, split: str = "validation") -> dict[str, float]:
        """Share of answers whose every token is the likeliest one (which is greedy decoding's answer), per
        task.
        """
        stage = Stage("validate", "answers", 0, 0.0)
        right: dict[str, list[bool]] = {}
        for step in range(count):
            batch = self.mixture(stage, split).make(step)
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.logits(self.model.vision_features(batch.tiles()), batch.packed)
            hits = logits.argmax(-1) == batch.packed.targets
            missed = torch.zeros(batch.packed.segments).index_add(0, batch.packed.answers, (~hits).float())
            for task, misses in zip(batch.tasks, missed.tolist(), strict=True):
                right.setdefault(task, []).append(misses == 0)
        return {task: round(sum(hits) / len(hits), 3) for task, hits in sorted(right.items())}

    def save(self, folder: Path) -> None:
        """Write the checkpoint in the published format, bfloat16."""
        save_checkpoint(folder, self.folder, self.config, self.model.weights, torch.bfloat16)

    # --- state between runs ---------------------------------------------------------------------------------

    def _save(self, stage: int, step: int, moments: dict[str, torch.Tensor]) -> None:
        heads = {f"heads.{name}": tensor for name, tensor in self.heads.weights.items()}
        tensors = {
            name: t.detach().contiguous() for name, t in (self.model.weights | heads | moments).items()
        }
        place = {"stage": str(stage), "step": str(step)}
        save_file(tensors, self.folder / "state.partial", metadata=place)
        (self.folder / "state.partial").replace(self.folder / "state.safetensors")
        (self.folder / "log.json").write_text(json.dumps(self.log))

    def _load(self) -> tuple[int, int, dict[str, torch.Tensor]]:
        state = self.folder / "state.safetensors"
        if not state.is_file():
            return 0, 0, {}
        with safe_open(state, "pt") as file:
            place = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        for name, tensor in self.model.weights.items():
            tensor.data.copy_(tensors.pop(name))
        for name, tensor in self.heads.weights.items():
            tensor.data.copy_(tensors.pop(f"heads.{name}"))
        if (self.folder / "log.json").is_file():
            self.log = json.loads((self.folder / "log.json").read_text())
        return int(place["stage"]), int(place["step"]), tensors


def rate(stage: Stage, step: int) -> float:
    """The learning rate: a linear warm-up, then a cosine down to the stage's floor."""
    warm = min(1.0, (step + 1) / stage.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / stage.steps)))
    return stage.lr * warm * (stage.floor + (1 - stage.floor) * fall)


MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")


def _moments(optimizers: list, learning: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    states = {
        name: o.state[tensor] for o in optimizers for name, tensor in learning.items() if tensor in o.state
    }
    return {f"moments.{kind}.{name}": s[kind] for name, s in states.items() for kind in MOMENTS if kind in s}


def _restore(
    optimizers: list, learning: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], step: int
) -> None:
    owner = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    for name, tensor in learning.items():
        kept = {
            kind: moments[f"moments.{kind}.{name}"] for kind in MOMENTS if f"moments.{kind}.{name}" in moments
        }
        if kept:
            counted = {"step": torch.tensor(float(step))} if "exp_avg" in kept else {}
            owner[id(tensor)].state[tensor] = counted | kept


def _mean(rows: list[dict]) -> str:
    rows = [row for row in rows if row["stage"] == rows[-1]["stage"]]
    means = {
        key: sum(row[key] for row in rows) / len(rows) for key in rows[-1] if key not in ("stage", "step")
    }
    return " ".join(f"{key} {value:.3f}" for key, value in means.items())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train Phantom-Nano from nothing; run again to resume.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without-phantom", action="store_true", help="train a model that has no phantom dimension"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor on every stage's steps")
    arguments = parser.parse_args()
    recipe = tuple(replace(stage, steps=max(1, round(stage.steps * arguments.scale))) for stage in RECIPE)
    training = NanoTraining(arguments.folder, seed=arguments.seed, phantom=not arguments.without_phantom)
    training.run(recipe, report=lambda line: print(line, flush=True))
    training.save(arguments.folder / "checkpoint")
    accuracy = training.accuracy(count=32, split="test")
    summary = {"recipe": [asdict(stage) for stage in recipe], "accuracy": accuracy, "seed": arguments.seed}
    (arguments.folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(accuracy)


if __name__ == "__main__":
    main()
