"""How the embedded Phantom-Nano is made, from nothing, on a CPU.

The vision encoder alone, on what its patches show; everything, on questions and their answers; then the two
steps of Phantom Optimization: L_PO while decoder and vision encoder are frozen, and supervised with
everything. A second round practises what the first was weak at, and ends with the same two steps. A third
shows it the world around the scenes: margins, papers, screens, textures and photographs, what a pin cuts out,
questions about what is absent, and pictures of nothing that it knows.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.published import Sizes
from phantom_edge.checkpoint.saving import save_checkpoint
from phantom_edge.text.packing import Packed, Packer
from phantom_edge.text.prompt import template_for
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.training import loop
from phantom_edge.training.objective import mean_by_answer, preference_loss, sft_loss, token_log_probs
from phantom_edge.training.progress import OnProgress
from phantom_edge.training.run_folder import RunFolder, RunState
from phantom_edge.tune.trainable import PHANTOM_PARTS, TrainableModel, learns_first
from recipes.nano.dense import DenseHeads
from recipes.nano.form import SIZES, initial_weights, write_form
from recipes.nano.mixture import Mixture, SceneBatch, batches
from recipes.synthetic import AMPLIFY

SAVE_EVERY = 60.0  # seconds between two states on disk
VALIDATION_BATCHES, TEST_BATCHES = 8, 32  # of 32 scenes


@dataclass(frozen=True)
class Stage(loop.Stage):
    """What a stage optimises, for how long, at which rate.

    goal: ``heads`` (those of the dense supervision alone), ``vision``, ``answers`` or ``preference``.
    """

    goal: str
    lr: float
    batch: int = 32
    dense: float = 0.0  # weight of the dense loss beside the answers'
    warmup: int = 100
    floor: float = 0.02  # of the learning rate, at the end of its cosine
    kinds: tuple[tuple[str, float], ...] = ()  # shares of the kinds of scene; empty: the usual ones
    conditions: tuple[tuple[str, float], ...] = ()  # shares of the conditions; empty: scenes fill the picture


# Reading is learnt from pictures of text, of which the usual shares have few.
HARD = (("objects", 44), ("sign", 18), ("display", 24), ("gauge", 6), ("arrow", 3), ("mixed", 5))
WORLD = (
    ("usual", 22), ("plain", 10), ("margin", 7), ("small", 11), ("texture", 14), ("paper", 9), ("screen", 7),
    ("crop", 13), ("nothing", 7),
)  # fmt: skip
RECIPE = (
    Stage("see", 1500, "vision", lr=4e-3),
    Stage("answer", 3600, "answers", lr=3e-3, dense=1.0),
    Stage("prefer", 200, "preference", lr=5e-4),
    Stage("settle", 400, "answers", lr=5e-4, dense=0.1),
    Stage("practise", 4200, "answers", lr=2e-3, dense=0.5, kinds=HARD),
    Stage("prefer again", 200, "preference", lr=3e-4),
    Stage("settle again", 300, "answers", lr=3e-4, dense=0.1),
    Stage("heads", 80, "heads", lr=4e-3, warmup=10, conditions=WORLD),
    Stage("broaden", 4000, "answers", lr=2e-3, dense=0.4, kinds=HARD, conditions=WORLD),
    Stage("prefer the right", 200, "preference", lr=3e-4, conditions=WORLD),
    Stage("settle at last", 400, "answers", lr=3e-4, dense=0.1, kinds=HARD, conditions=WORLD),
)
BROADENING = 8  # the first stage of the third round, from 1


class NanoTraining(loop.Trainer[Stage, SceneBatch]):
    """The model and its heads, taken through the stages; ``OUTPUT.partial`` has the state between runs.

    ``workers`` processes draw the scenes; 0 draws them in this one.
    """

    clip = 1.0
    remedy = "give the stage a lower rate"

    def __init__(
        self,
        output: Path,
        stages: Sequence[Stage] = RECIPE,
        *,
        seed: int = 0,
        phantom: bool = True,
        sizes: Sizes = SIZES,
        workers: int = 1,
        start: Path | None = None,
        photographs: Sequence[Image.Image] = (),
        progress: OnProgress = lambda _: None,
        save_every: float = SAVE_EVERY,
    ):
        self.output = RunFolder(output)
        super().__init__(stages, progress, self.output, save_every)
        self.seed, self.workers, self.photographs = seed, workers, tuple(photographs)
        self._form = tempfile.TemporaryDirectory()  # tokenizer and config
        self.config = write_form(Path(self._form.name), sizes)
        self.model = TrainableModel(self.config, initial_weights(self.config, seed), phantom=phantom)
        self.heads = DenseHeads(self.config.vision.hidden_size, torch.Generator().manual_seed(seed + 1))
        tokenizer = Tokenizer.from_checkpoint(self._form.name)
        self.packer = Packer(template_for(self.config.decoder.type), tokenizer, self.config.tokens_per_tile)
        self.arguments = {
            "seed": seed,
            "phantom": phantom,
            "sizes": asdict(sizes),
            "start": None if start is None else start.name,
            "photographs": len(self.photographs),
            "stages": [_written(stage) for stage in stages],
        }
        if start is not None:
            self.begin_from(start)

    def run(self) -> None:
        """Go through the stages, from where the state on disk left off."""
        with self.output.locked(self.arguments):
            self.train()

    def make(self) -> dict[str, Any]:
        """Train, measure on the test split and write the checkpoint; what ``training.json`` says.

        A finished checkpoint is not made again. Raises :class:`InputError` where something else is.
        """
        if (training := self.output.finished()) is not None:
            self.output.check_finished(training, self.arguments)
            return training
        self.run()
        accuracy = self.accuracy(TEST_BATCHES, "test")
        training = {"arguments": self.arguments, "accuracy": accuracy, **self.record()}
        with self.output.finishing(training) as result:
            self.save(result)
        return training

    def save(self, folder: Path) -> None:
        """Write the checkpoint as it is now, in the published format, bfloat16."""
        save_checkpoint(folder, Path(self._form.name), self.config, self.model.weights, torch.bfloat16)

    def begin_from(self, checkpoint: Path) -> None:
        """Begin the third round with a checkpoint that has the first two behind it; its heads are new."""
        source = Pretrained.open(checkpoint)
        for name, tensor in self.model.weights.items():
            tensor.data.copy_(source.checkpoint[name].to(tensor.dtype))
        self.state = RunState(stage=BROADENING)

    def go_on_from(self, trunk: NanoTraining) -> None:
        """Begin after another training's last stage, with its weights."""
        for name, tensor in self.saved().items():
            tensor.data.copy_(trunk.saved()[name].detach())
        self.state = RunState(stage=len(trunk.stages) + 1)

    def mixture(self, stage: Stage, split: str = "train") -> Mixture:
        return Mixture(
            self.packer,
            self.config.tile_size,
            self.config.vision.grid,
            split=split,
            batch=stage.batch,
            questions={"answers": 8, "preference": 4}.get(stage.goal, 0),
            tokens={"answers": 150, "preference": 220}.get(stage.goal, 0),
            pairs=stage.goal == "preference",
            seed=self.seed,
            kinds=dict(stage.kinds) or None,
            conditions=dict(stage.conditions) or None,
            photographs=self.photographs if split == "train" else (),
        )

    def weights_of(self, stage: Stage) -> dict[str, torch.Tensor]:
        """What a stage trains; a preference the projector, the phantom cross-attention and the gates."""
        weights = self.model.weights
        heads = {f"heads.{name}": tensor for name, tensor in self.heads.weights.items()}
        if stage.goal == "heads":
            return heads
        if stage.goal == "vision":
            vision = (n for n in weights if n.startswith("vision_encoder") and "projector" not in n)
            return heads | {n: weights[n] for n in vision}
        if stage.goal == "preference":
            return {n: weights[n] for n in weights if learns_first(n)}
        return weights | (heads if stage.dense else {})

    def saved(self) -> dict[str, torch.Tensor]:
        return self.model.weights | {f"heads.{name}": tensor for name, tensor in self.heads.weights.items()}

    def begin(self, stage: Stage) -> tuple[dict[str, torch.Tensor], list[torch.optim.Optimizer]]:
        learning = self.weights_of(stage)
        for name, tensor in self.saved().items():
            tensor.requires_grad_(name in learning)
        return learning, self.optimizers_of(learning)

    def optimizers_of(self, learning: Mapping[str, torch.Tensor]) -> list[torch.optim.Optimizer]:
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
            {"params": kinds["plain"], "lr": 0.3},
            {"params": kinds["amplified"], "lr": 0.3 * AMPLIFY},  # steps in proportion to their size
        ]
        groups = [group for group in groups if group["params"]]
        # eps far below the gradients that eta lets through to the phantom's weights
        adam = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-14, weight_decay=0.0, fused=True)
        matrices = [{"params": kinds["muon"], "lr": 1.0}]
        return [adam, torch.optim.Muon(matrices, lr=1.0, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")]

    def batches(self, stage: Stage, first: int) -> Iterator[list[SceneBatch]]:
        offset = 1_000_000 * (self.state.stage - 1)  # stages never share a scene
        steps = range(offset + first, offset + stage.steps)
        return ([batch] for batch in batches(self.mixture(stage), steps, self.workers))

    def schedule(self, stage: Stage, step: int) -> float:
        """A linear warm-up, then a cosine down to the stage's floor."""
        warm = min(1.0, (step + 1) / stage.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / stage.steps)))
        return stage.lr * warm * (stage.floor + (1 - stage.floor) * fall)

    def loss(self, part: SceneBatch, parts: Sequence[SceneBatch]) -> torch.Tensor:
        terms = self.losses(self.stages[self.state.stage - 1], part)
        for name, term in terms.items():
            self.state.totals.add(name, float(term.detach()), 1)
        return functools.reduce(torch.add, terms.values())

    def losses(self, stage: Stage, batch: SceneBatch) -> dict[str, torch.Tensor]:
        """The stage's loss terms; their sum is what it descends."""
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.vision_features(batch.tiles())
            out = {}
            alone = stage.goal in ("heads", "vision")
            if alone or stage.dense:
                out["dense"] = (1.0 if alone else stage.dense) * self.heads.loss(features, batch.dense)
            if alone:
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

    def logits(self, features: torch.Tensor, packed: Packed) -> torch.Tensor:
        """Logits [N, vocab] at the positions whose next token is an answer's."""
        embeds = self.model.embed(packed.ids)
        image = self.model.project(features)
        places = packed.ids == self.config.image_token_id
        embeds = embeds.to(image.dtype).masked_scatter(places[..., None], image)
        hidden = self.model.hidden(embeds, packed.positions, packed.mask)
        return self.model.head(hidden.flatten(0, 1)[packed.sources])

    def validate(self, name: str) -> Mapping[str, Any]:
        """Accuracy per task once answers have been learnt."""
        stage = next((stage for stage in self.stages if stage.name == name), None)
        if stage is None or stage.goal not in ("answers", "preference"):
            return {}
        usual = self.accuracy(VALIDATION_BATCHES, "validation")
        if not stage.conditions:
            return usual
        return {"usual": usual} | {
            condition: self.accuracy(VALIDATION_BATCHES // 2, "validation", condition)
            for condition, _ in stage.conditions
            if condition != "usual"
        }

    @torch.no_grad()
    def accuracy(self, count: int, split: str, condition: str = "usual") -> dict[str, float]:
        """Per task, the share of answers whose every token is the likeliest one, as in greedy decoding."""
        stage = Stage("validate", 0, "answers", 0.0, conditions=((condition, 1.0),))
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


def _written(stage: Stage) -> dict[str, Any]:
    """A stage as JSON has it."""
    lists = {name: [list(pair) for pair in getattr(stage, name)] for name in ("kinds", "conditions")}
    return asdict(stage) | lists
