"""Phantom Optimization on any Phantom checkpoint: the two published steps, resumable, repeatable from a
seed.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phantom_edge import __version__
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError, NoRoomError
from phantom_edge.images import DEFAULT_MAX_TILES
from phantom_edge.text.triples import Line, Picture, Triples, data_sha256, survey
from phantom_edge.training.device import choose_device, computing, repeatable
from phantom_edge.training.objective import Losses
from phantom_edge.training.progress import Progress, Tell
from phantom_edge.training.state import TRAINING, RunFolder, RunState, Totals, differences
from phantom_edge.tune.batches import Collator, Encoded, Micro, Order, hold_out
from phantom_edge.tune.compute import add, losses_of, share_of
from phantom_edge.tune.lean import LeanModel, learns_first
from phantom_edge.tune.lora import make_adapters
from phantom_edge.tune.memory import check_memory, learning_parameters, memory_of
from phantom_edge.tune.options import TuneOptions
from phantom_edge.tune.save import save_checkpoint

STAGES = {1: "step 1", 2: "step 2"}
BEFORE, AFTER = "before", "after"
TORCH_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class TuneResult:
    """The finished checkpoint's folder, and what its ``training.json`` says."""

    output: Path
    training: dict[str, Any]

    @property
    def validation(self) -> dict[str, dict[str, float | None]]:
        """Both loss terms and preference accuracy on the held-out lines: ``before``, after ``step 1``,
        ``after``.
        """
        return self.training["validation"]


def tune(
    source: Pretrained,
    triples: Triples,
    options: TuneOptions,
    output: str | Path,
    progress: Tell = lambda _: None,
) -> TuneResult:
    """Tune a checkpoint with Phantom Optimization and write the result, in the published format, to
    ``output``.

    A run that was killed goes on when it is called again with the same arguments, and its weights are the
    same, byte for byte, as those of one that was not; a finished one is not done again. Raises
    :class:`InputError` for bad data or arguments before any work, and :class:`CheckError` when the loss stops
    being a number.

    >>> triples = pe.read_triples("scenes/triples.jsonl", "scenes")
    >>> options = pe.TuneOptions(steps_1=1, steps_2=0, batch=4)
    >>> pe.tune(pe.Pretrained.open(), triples, options, "tuned").output.name
    'tuned'
    """
    folder, device = RunFolder(Path(output)), choose_device(options.device)
    finished = folder.finished()
    train, held = hold_out(triples.lines, options.validation, options.seed)
    _check_pairs(triples, train, options)
    pictures, stamps = survey(
        triples, folder.known_pictures(), lambda n, of: progress(Progress("pictures", n, of))
    )
    data = {"sha256": data_sha256(triples, pictures)}
    max_tiles = options.max_tiles or min(DEFAULT_MAX_TILES, source.config.max_tiles or DEFAULT_MAX_TILES)
    resolved = {"device": device, "max_tiles": max_tiles, "data": data["sha256"], "model": source.sha256()}
    arguments = options.to_dict() | resolved
    if finished is not None:
        return _already(folder, finished, arguments)
    folder.check_same(arguments)
    collator = Collator(source, triples, pictures, max_tiles)
    if not folder.resumable:
        _check_lines(collator, triples, options, progress)
    steps = dict(zip(STAGES, options.count_steps(len(train)), strict=True))
    check_memory(source.checkpoint, [s for s, n in steps.items() if n], options.lora, memory_of(device))
    with folder.held(arguments, stamps), repeatable(device):
        run = _Run(source, collator, options, device, folder, steps, train, held, progress)
        try:
            run.train()
        except torch.OutOfMemoryError:
            raise NoRoomError(
                "out of memory: use a smaller --micro-batch or --max-tiles, or --lora"
            ) from None
        return run.finish({"arguments": arguments, "data": data | _counts(triples, train, held, pictures)})


def _check_pairs(triples: Triples, train: Sequence[Line], options: TuneOptions) -> None:
    if options.steps_1 != 0 and not options.sft_only and all(line.wrong is None for line in train):
        raise InputError(
            f"{triples.path}: no line to train on has a wrong answer, from which step 1 learns; add some, "
            "or --sft-only"
        )


def _check_lines(collator: Collator, triples: Triples, options: TuneOptions, progress: Tell) -> None:
    """Encode every line once: what cannot be learned is found before any work."""
    for n, line in enumerate(triples.lines, start=1):
        collator.encode(line, wrong=not options.sft_only)
        progress(Progress("lines", n, len(triples.lines)))


def _already(folder: RunFolder, training: dict[str, Any], arguments: Mapping[str, Any]) -> TuneResult:
    if differing := differences(training.get("arguments"), arguments):
        raise InputError(
            f"{folder.output} holds a checkpoint tuned with other arguments ({differing}): choose another "
            "--output"
        )
    folder.clear()  # of a run that was killed as it put its output in place
    return TuneResult(folder.output, training)


def _counts(
    triples: Triples, train: Sequence[Line], held: Sequence[Line], pictures: Mapping[str, Picture]
) -> dict[str, Any]:
    pairs = sum(line.wrong is not None for line in triples.lines)
    return {
        "file": triples.path.name,
        "lines": len(triples.lines),
        "pairs": pairs,
        "pictures": len(pictures),
        "trained_on": len(train),
        "held_out": len(held),
    }


class _Run:
    """One run: the model, where it is, and the loops."""

    def __init__(
        self,
        source: Pretrained,
        collator: Collator,
        options: TuneOptions,
        device: str,
        folder: RunFolder,
        steps: Mapping[int, int],
        train: Sequence[Line],
        held: Sequence[Line],
        progress: Tell,
    ):
        self.source, self.collator, self.options, self.device = source, collator, options, device
        self.folder, self.steps, self.held, self.progress = folder, steps, held, progress
        self.order = Order(train, options.batch_of(len(train)), options.seed)
        self.resuming = folder.resumable
        self.state = folder.read_state() if self.resuming else RunState()
        if self.resuming:
            self.state.resumed.append([self.state.stage, self.state.step, self.state.micro])
        self.model = LeanModel(
            source.config,
            source.checkpoint,
            recompute=options.recompute,
            device=device,
            tell=lambda n, of: progress(Progress("weights", n, of)),
        )
        self.saved_at = time.monotonic()
        self.seconds, self.tokens, self.lines = 0.0, 0, 0  # of training, in this process

    # --- training -------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Both steps of the recipe, from wherever the state is."""
        for stage in range(self.state.stage, len(STAGES) + 1):
            self._begin(stage)
            if BEFORE not in self.state.validation:
                self._validate(BEFORE)
                self._save()
            while self.state.step < self.steps[stage]:
                self._step()
                if self._due():
                    self._save()
            if stage == 1 and self.steps[1] and STAGES[1] not in self.state.validation:
                self._validate(STAGES[1])
            self._save()

    def _begin(self, stage: int) -> None:
        """Let those weights learn that do in a step of the recipe, and put back what was saved of it."""
        lora = self.options.lora
        if stage == 2 and lora is not None:
            self.model.adapters = make_adapters(self.model.weights, lora, self.options.seed)
        self.model.learn(learns_first if stage == 1 or lora is not None else lambda name: True)
        self.trained = dict(self.model.trained())
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=self.options.lr, weight_decay=0.0)
        if self.resuming:
            self.folder.restore(self.trained, self.optimizer)
            self.resuming = False
        elif stage > self.state.stage:
            self.state.stage, self.state.step, self.state.micro = stage, 0, 0

    def _step(self) -> None:
        """One optimiser step over one batch."""
        state = self.state
        wrong = state.stage == 1 and not self.options.sft_only
        batch = [self.collator.encode(line, wrong=wrong) for line in self.order.step(state.stage, state.step)]
        size = self.options.micro_batch
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        while state.micro < len(parts):
            self._micro_batch(parts[state.micro], batch)
            state.micro += 1
            if state.micro < len(parts) and self._due():
                self._save()
        rate = self.options.learning_rate(state.step, self.steps[state.stage])
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.curve.append({"stage": state.stage, "step": state.step + 1, "lr": rate, **state.totals.means()})
        state.step, state.micro, state.totals = state.step + 1, 0, Totals()

    def _micro_batch(self, part: Sequence[Encoded], batch: Sequence[Encoded]) -> None:
        """Add one micro-batch's share to the gradients of its batch."""
        started = time.monotonic()
        micro, losses = self._compute(part)
        loss = share_of(losses, micro, batch)
        if not math.isfinite(float(loss.detach())):
            where = f"{STAGES[self.state.stage]}, at optimiser step {self.state.step + 1}"
            raise CheckError(
                f"the loss is no longer a number in {where}: use a lower --lr, or --precision fp32"
            )
        loss.backward()
        add(self.state.totals, micro, losses)
        self.seconds += time.monotonic() - started
        self.tokens, self.lines = self.tokens + micro.tokens, self.lines + len(part)
        self._tell(len(part) + self.state.micro * self.options.micro_batch)

    def _compute(self, part: Sequence[Encoded]) -> tuple[Micro, Losses]:
        micro = self.collator.collate(part).to(self.device)
        with computing(self.device, self.options.precision):
            return micro, losses_of(self.model, micro, beta=self.options.beta, gamma=self.options.gamma)

    def _tell(self, lines: int) -> None:
        """Report after ``lines`` of a batch; the time left follows from the lines computed in this
        process.
        """
        stage, batch = self.state.stage, self.order.batch
        steps = sum(n for later, n in self.steps.items() if later >= stage) - self.state.step
        left = self.seconds / self.lines * (steps * batch - lines)
        done, rate = self.state.step + 1, self.tokens / max(self.seconds, 1e-9)
        self.progress(Progress(STAGES[stage], done, self.steps[stage], self.state.totals.means(), rate, left))

    @torch.no_grad()
    def _validate(self, name: str) -> None:
        """Both terms of the loss on the held-out lines, as the weights are now."""
        if not self.held:
            return
        totals, size = Totals(), self.options.micro_batch
        for start in range(0, len(self.held), size):
            lines = self.held[start : start + size]
            micro, losses = self._compute(
                [self.collator.encode(line, wrong=not self.options.sft_only) for line in lines]
            )
            add(totals, micro, losses)
            self.progress(Progress(f"validation, {name}", start + len(lines), len(self.held), totals.means()))
        self.state.validation[name] = totals.means()

    # --- state and output -----------------------------------------------------------------------------------

    def _due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.options.save_every

    def _save(self) -> None:
        self._count_time()
        self.folder.save(self.state, self.trained, self.optimizer)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.saved_at
        self.saved_at = now

    def finish(self, about: Mapping[str, Any]) -> TuneResult:
        """Round the weights as they will be stored, measure those, and write the checkpoint."""
        checkpoint, folder = self.source.checkpoint, self.folder
        types = checkpoint.dtypes
        dtype = TORCH_TYPES[types[0]] if len(types) == 1 else torch.float32
        self.optimizer = None  # its moments are on disk, and the room is needed
        self.model.settle(dtype)
        self._validate(AFTER)
        self._count_time()
        training = self._training(about)
        self.progress(Progress("writing the checkpoint"))
        with folder.finishing() as result:
            save_checkpoint(result, checkpoint.folder, self.source.config, self.model.weights, dtype)
            (result / TRAINING).write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
        return TuneResult(folder.output, training)

    def _training(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """The contents of ``training.json``."""
        stages = {name: stage for stage, name in STAGES.items() if self.steps[stage]}
        return {
            "producer": {
                "phantom_edge": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
            },
            "model": self.source.name,
            **about,
            "steps": {name: self.steps[stage] for name, stage in stages.items()},
            "trained_parameters": {
                name: learning_parameters(self.source.checkpoint, stage, self.options.lora)
                for name, stage in stages.items()
            },
            "threads": torch.get_num_threads(),
            "seconds": round(self.state.seconds, 1),
            "resumed": self.state.resumed,
            "validation": self.state.validation,
            "curve": self.state.curve,
        }
