"""Quantisation as one call: checkpoint in; one file of integers, and a report of what they cost, out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phantom_edge.checkpoint.origin import short_name
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.evaluate.ask import evaluate
from phantom_edge.evaluate.examples import examples
from phantom_edge.evaluate.items import Suite
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.evaluate.scene_tasks import scene_suite
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import dense
from phantom_edge.pipeline.quantization_report import quantization_report
from phantom_edge.progress import Step, Track, no_step, no_track
from phantom_edge.quantize import store
from phantom_edge.quantize.job import quantize as quantize_model
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.quantize.other_quantizers import Comparison, compare
from phantom_edge.quantize.result import Quantization
from phantom_edge.report.report import Report
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import CHECKPOINT_CONTEXT, Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.verify.scope import LARGE
from phantom_edge.system.files import cache_folder, file_sha256


@dataclass(frozen=True)
class QuantizeRequest:
    """What to quantise and how.

    ``output`` is a file that ends in ``.safetensors``, or None for the report alone. ``compare`` also tries
    other quantisers on the same weights, ``accuracy`` asks so many questions per scene task. ``examples``
    asks a small model one question per task without it, for the report's pictures.

    >>> pe.QuantizeRequest(options=pe.QuantizeOptions("int4", method="awq")).fold
    'exact'
    """

    model: str | None = None
    revision: str | None = None
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    fold: str = "exact"
    output: Path | None = None
    compare: bool = False
    accuracy: int = 0
    examples: bool = False


@dataclass(frozen=True)
class QuantizeResult:
    """The quantised weights, and the report of what they cost."""

    quantization: Quantization
    report: Report
    comparisons: tuple[Comparison, ...] = ()
    answers: tuple[EvalResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, for machines; of the answers the accuracies."""
        return self.quantization.to_dict() | {
            "comparisons": [row.to_dict() for row in self.comparisons],
            "accuracy": [answer.to_dict() for answer in self.answers],
        }


def quantize(request: QuantizeRequest, *, step: Step = no_step, track: Track = no_track) -> QuantizeResult:
    """Load, fold, quantise, measure; the file appears when all of it is done.

    Raises :class:`InputError` for bad input before anything is computed, and for a budget that cannot be met.

    >>> options = pe.QuantizeOptions("int4", method="rtn", samples=8, kv_cache=False)
    >>> result = pe.quantize(pe.QuantizeRequest(options=options, output=Path("nano.safetensors")))
    >>> result.quantization.rows[0].precision
    'int8'
    """
    if request.output is not None:
        store.check_output(request.output)
    fold = Fold.parse(request.fold)
    suite = scene_suite(samples=request.accuracy) if request.accuracy else None
    step("opening the checkpoint")
    source = Pretrained.open(request.model, revision=request.revision, step=step)
    model = FoldedModel.of(source.config, source.checkpoint, fold, source.first_id, track)
    cache = cache_folder() / "quantize"
    quantization = quantize_model(source, model, request.options, cache=cache, step=step)
    comparisons = compare(source, model, quantization, step) if request.compare else []
    if suite is None and request.examples and source.checkpoint.parameters <= LARGE:
        suite = scene_suite(samples=1)
    replies: list[EvalResult] = []
    if suite is not None:
        models = {"quantised": quantization.apply(model), "original": model}
        replies = [_answers(source, name, one, suite, step) for name, one in models.items()]
    answers = replies if request.accuracy else []
    report = quantization_report(quantization, short_name(source.name), comparisons, answers)
    report.examples += [] if suite is None else examples(suite.items, replies)
    report.provenance["checkpoint, SHA-256"] = source.digest
    if request.output is not None:
        store.save(request.output, quantization)
        report.provenance[f"{request.output.name}, SHA-256"] = file_sha256(request.output)
    return QuantizeResult(quantization, report, tuple(comparisons), tuple(answers))


def _answers(source: Pretrained, name: str, model: FoldedModel, suite: Suite, step: Step) -> EvalResult:
    step(f"asking {len(suite.items)} questions: {name}")
    result = evaluate(session_of(source, model), suite.items)
    result.model = name
    return result


def session_of(source: Pretrained, model: FoldedModel) -> Session:
    """A session over a folded model in torch, integers multiplied out once."""
    model = replace(model, weights={name: dense(weight) for name, weight in model.weights.items()})
    context = min(CHECKPOINT_CONTEXT, source.config.decoder.rope.original_context)
    backend = TorchBackend(model, context, chunk=context)
    return Session(backend, source.tokenizer, PromptSpec.of_source(source, folded=True))
