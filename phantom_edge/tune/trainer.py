"""Phantom Optimization on any Phantom checkpoint: the published steps, resumable, repeatable from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.saving import save_checkpoint
from phantom_edge.errors import InputError, NoRoomError
from phantom_edge.images import DEFAULT_MAX_TILES
from phantom_edge.training.device import choose_device, computing, repeatable
from phantom_edge.training.loop import AFTER, Stage, Trainer
from phantom_edge.training.objective import Losses
from phantom_edge.training.progress import OnProgress, TrainingProgress
from phantom_edge.training.run_folder import RunFolder, Totals
from phantom_edge.training.triples import Line, Triples
from phantom_edge.tune import pictures as surveys
from phantom_edge.tune.batches import Collator, Encoded, MicroBatch, Order, hold_out
from phantom_edge.tune.compute import add, losses_of, share_of
from phantom_edge.tune.lora import make_adapters
from phantom_edge.tune.memory import check_memory, learning_parameters, memory_of
from phantom_edge.tune.options import TuneOptions, schedule
from phantom_edge.tune.trainable import TrainableModel, learns_first

PICTURES = "pictures.json"
"""In the run's folder: which pictures were decoded and are good."""
STEP_1, STEP_2 = "step 1", "step 2"
TORCH_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class TuneResult:
    """The finished checkpoint's folder, and what its ``training.json`` says."""

    output: Path
    training: dict[str, Any]

    @property
    def validation(self) -> dict[str, dict[str, float | None]]:
        """Loss terms and preference accuracy on held-out lines: ``before``, after ``step 1``, ``after``."""
        return dict(self.training["validation"])


def tune(
    source: Pretrained,
    triples: Triples,
    options: TuneOptions,
    output: str | Path,
    progress: OnProgress = lambda _: None,
) -> TuneResult:
    """Tune a checkpoint with Phantom Optimization and write the result, in the published format.

    A run that was killed goes on when it is called again with the same arguments, and its weights are the
    same, byte for byte, as those of one that was not; a finished one is not done again. Raises
    :class:`InputError` for bad data or arguments before any work, and :class:`CheckError` when the loss stops
    being a number.

    >>> triples = pe.read_triples("scenes/triples.jsonl", "scenes")
    >>> options = pe.TuneOptions(steps_1=1, steps_2=0, batch=4)
    >>> pe.tune(pe.Pretrained.open(), triples, options, "tuned").output.name
    'tuned'
    """
    folder, device = RunFolder(output), choose_device(options.device)
    finished = folder.finished()
    train, held_out = hold_out(triples.lines, options.validation, options.seed)
    _check_pairs(triples, train, options)
    known = surveys.read_known(folder.folder / PICTURES)
    pictures = surveys.survey(triples, known, lambda n, of: progress(TrainingProgress("pictures", n, of)))
    data = {"sha256": surveys.data_sha256(triples, pictures)}
    max_tiles = options.max_tiles or min(DEFAULT_MAX_TILES, source.config.max_tiles or DEFAULT_MAX_TILES)
    resolved = {"device": device, "max_tiles": max_tiles, "data": data["sha256"], "model": source.sha256()}
    arguments = options.to_dict() | resolved
    if finished is not None:
        folder.check_finished(finished, arguments)
        return TuneResult(folder.output, finished)
    folder.check_same(arguments)
    collator = Collator(source, triples, pictures, max_tiles)
    if not folder.resumable:
        _check_lines(collator, triples, options, progress)
    steps = options.count_steps(len(train))
    numbers = [number for number, n in enumerate(steps, start=1) if n]
    check_memory(source.checkpoint, numbers, options.lora, memory_of(device))
    about = {"arguments": arguments, "data": data | _counts(triples, train, held_out, len(pictures))}
    with folder.locked(arguments), repeatable(device):
        folder.write_json(PICTURES, surveys.to_json(pictures))
        run = PhantomOptimization(source, collator, options, device, folder, steps, train, held_out, progress)
        try:
            run.train()
        except torch.OutOfMemoryError:
            raise NoRoomError("out of memory: use a smaller --micro-batch or --max-tiles, --lora") from None
        return run.finish(about)


def _check_pairs(triples: Triples, train: Sequence[Line], options: TuneOptions) -> None:
    if options.steps_1 != 0 and not options.sft_only and all(line.wrong is None for line in train):
        raise InputError(f"{triples.path}: no line to train on has a wrong answer; add some, or --sft-only")


def _check_lines(collator: Collator, triples: Triples, options: TuneOptions, progress: OnProgress) -> None:
    """Encode every line once, so that one that cannot be learned is noticed before any work."""
    for n, line in enumerate(triples.lines, start=1):
        collator.encode(line, wrong=not options.sft_only)
        progress(TrainingProgress("lines", n, len(triples.lines)))


def _counts(
    triples: Triples, train: Sequence[Line], held_out: Sequence[Line], pictures: int
) -> dict[str, Any]:
    return {
        "file": triples.path.name,
        "lines": len(triples.lines),
        "pairs": sum(line.wrong is not None for line in triples.lines),
        "pictures": pictures,
        "trained_on": len(train),
        "held_out": len(held_out),
    }


class PhantomOptimization(Trainer[Stage, Sequence[Encoded]]):
    """Step 1 with the preference term, step 2 without, over the lines of a file."""

    remedy = "use a lower --lr, or --precision fp32"

    def __init__(
        self,
        source: Pretrained,
        collator: Collator,
        options: TuneOptions,
        device: str,
        folder: RunFolder,
        steps: tuple[int, int],
        train: Sequence[Line],
        held_out: Sequence[Line],
        progress: OnProgress,
    ):
        stages = [Stage(name, n) for name, n in zip((STEP_1, STEP_2), steps, strict=True)]
        super().__init__(stages, progress, folder, options.save_every)
        self.source, self.collator, self.options, self.device = source, collator, options, device
        self.output, self.held_out = folder, held_out
        self.order = Order(train, options.batch_of(len(train)), options.seed)
        self.model = TrainableModel(
            source.config,
            source.checkpoint,
            recompute=options.recompute,
            device=device,
            progress=lambda n, of: progress(TrainingProgress("weights", n, of)),
        )

    def begin(self, stage: Stage) -> tuple[dict[str, Tensor], list[torch.optim.Optimizer]]:
        first, lora = stage.name == STEP_1, self.options.lora
        if not first and lora is not None:
            self.model.adapters = make_adapters(self.model.weights, lora, self.options.seed)
        self.model.learn(learns_first if first or lora is not None else lambda name: True)
        learning = dict(self.model.trained())
        return learning, [torch.optim.AdamW(learning.values(), lr=self.options.lr, weight_decay=0.0)]

    def batches(self, stage: Stage, first: int) -> Iterator[list[list[Encoded]]]:
        number = 1 if stage.name == STEP_1 else 2
        for step in range(first, stage.steps):
            yield self._parts(self.order.step(number, step), wrong=number == 1)

    def _parts(self, lines: Sequence[Line], *, wrong: bool) -> list[list[Encoded]]:
        wrong, size = wrong and not self.options.sft_only, self.options.micro_batch
        encoded = [self.collator.encode(line, wrong=wrong) for line in lines]
        return [encoded[start : start + size] for start in range(0, len(encoded), size)]

    def loss(self, part: Sequence[Encoded], parts: Sequence[Sequence[Encoded]]) -> Tensor:
        micro, losses = self._compute(part)
        add(self.state.totals, micro, losses)
        self.tokens += micro.tokens
        return share_of(losses, micro, [encoded for part in parts for encoded in part])

    def _compute(self, part: Sequence[Encoded]) -> tuple[MicroBatch, Losses]:
        micro = self.collator.collate(part).to(self.device)
        with computing(self.device, self.options.precision):
            return micro, losses_of(self.model, micro, beta=self.options.beta, gamma=self.options.gamma)

    def schedule(self, stage: Stage, step: int) -> float:
        return schedule(step, stage.steps)

    def validate(self, name: str) -> dict[str, float | None]:
        """Both terms of the loss on the held-out lines."""
        totals, done = Totals(), 0
        for part in self._parts(self.held_out, wrong=True):
            add(totals, *self._compute(part))
            done += len(part)
            self.progress(TrainingProgress(f"validation, {name}", done, len(self.held_out), totals.means()))
        return totals.means()

    def finish(self, about: Mapping[str, Any]) -> TuneResult:
        """Round the weights as they will be stored, measure those, and write the checkpoint."""
        checkpoint, types = self.source.checkpoint, self.source.checkpoint.dtypes
        dtype = TORCH_TYPES[types[0]] if len(types) == 1 else torch.float32
        self.learning, self.optimizers = {}, ()  # their moments are on disk, and the room is needed
        self.model.settle(dtype)
        self.measure(AFTER)
        parameters = {
            stage.name: learning_parameters(checkpoint, number, self.options.lora)
            for number, stage in enumerate(self.stages, start=1)
            if stage.steps
        }
        training = {"model": self.source.name, **about, "trained_parameters": parameters, **self.record()}
        self.progress(TrainingProgress("writing the checkpoint"))
        with self.output.finishing(training) as result:
            save_checkpoint(result, checkpoint.folder, self.source.config, self.model.weights, dtype)
        return TuneResult(self.output.output, training)
