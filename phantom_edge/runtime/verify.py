"""Verify a bundle by running the files that ship, with two questions and two tolerances.

1. *Is the export right?* The artifact against the torch model with the same integers, stage by stage.
2. *Is the quantisation good?* The artifact against the original in fp32: KL divergence, top-1 agreement,
  greedy tokens.

And one more, because this is a Phantom: is the phantom dimension in the artifact at all?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import zip_longest
from typing import Any

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import CalibratedQuantization
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, NoRoomError, shown
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import CacheScales
from phantom_edge.model.original import PhantomModel
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.store import SIDECAR, differing, of_bundle
from phantom_edge.report.report import Check, Plot, Report, megabytes
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.decoding import forced
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.session import PromptSpec
from phantom_edge.runtime.torch_reference import Reference, make_references
from phantom_edge.runtime.traces import Prompt, Trace, prompts, trace_prompt
from phantom_edge.targets import Format, format_for
from phantom_edge.text.tokenizer import Tokenizer

UNROUNDED = (
    "Is the export right? Its graphs and integers in fp32 arithmetic, against torch with the same integers"
)
STRUCTURE = "Is the export right? As it ships, against torch with the same integers"
QUALITY = "Is the quantisation good? The artifact against the original in fp32"
GREEDY_TOKENS = 64


def verify(
    bundle: Bundle,
    source: Pretrained | None = None,
    *,
    model: FoldedModel | None = None,
    image: Any = None,
    question: str | None = None,
    tokens: int = GREEDY_TOKENS,
    step: Step = no_step,
) -> Report:
    """Run a bundle's files and compare them with the checkpoint they came from.

    ``source`` is that checkpoint, by default the one the manifest names; its SHA-256 must be the one
    recorded. ``model`` is the folded, quantised model if it is at hand. ``tokens`` is the number of greedy
    tokens per prompt: the artifact's own choices, at each of which torch is asked for its own. Where they
    agree all along, so do the texts.

    >>> pe.verify(pe.Bundle.open("nano-desktop"), tokens=8).ok
    True
    """
    m = bundle.manifest
    source = source or _recorded_source(bundle)
    _check_source(bundle, source)
    recipe, calibrated = m.recipe, m.quantization
    artifact_format = format_for(m.format)
    stored, cache = artifact_format.stored_weights(bundle.folder), _stored_cache(artifact_format, bundle)
    if model is None:
        step("folding and quantising the original")
        fold = Fold.parse(m.fold.fold)
        model = FoldedModel.of(source.config, source.checkpoint, fold, m.ids.first)
        if calibrated:
            model = of_bundle(bundle.folder / SIDECAR, stored).apply(model)
        else:
            model = model.quantized(recipe)
        model = model.with_kv(cache)
    structure = [_integers(stored, model, calibrated), *_cache_grid(cache, model)]
    del stored  # a byte a weight, and from here on the model's own are enough
    reference = artifact_format.reference(model)
    spec, context, chunk = PromptSpec.of_bundle(bundle), m.context, m.chunk
    questions = prompts(
        spec, Tokenizer.from_file(bundle.folder / "tokenizer.json"), context - tokens, image, question
    )

    step("running the artifact")
    run, chosen, runtime = _run(bundle, questions, [()] * len(questions), tokens, {})
    step("running the torch model with the same integers, and the original")
    original = PhantomModel(source.config, source.checkpoint, keep=False)
    references = make_references(reference, original, questions, chosen, source.config.image_token_id, chunk)

    groups: dict[str, list[Check]] = {}
    if artifact_format.unrounded:
        step("running the artifact without its platform's rounding")
        groups[UNROUNDED] = _unrounded(bundle, references)
    if reference.rounds_activations:
        structure += _grid_stages(references, run, artifact_format.name)
    else:
        kind = "integer" if _bits(recipe, model) < 16 else "float"
        pairs = [(r.prompt, r.trace, t) for r, t in zip(references, run, strict=True)]
        structure += _stages(pairs, artifact_format.name, kind)
    structure.append(_phantom(references, run))

    report = Report(
        "verify",
        f"{m.source.name} for {m.target}: {artifact_format.title}, {recipe.name}",
        {
            "runtime": runtime,
            "fold": m.fold.fold,
            "size": megabytes(bundle.bytes),
            "prompts": ", ".join(f"{r.prompt.name} ({len(r.prompt.ids)} tokens)" for r in references),
        },
        groups | {STRUCTURE: structure, QUALITY: _quality(references, run, _bits(recipe, model))},
    )
    report.plots += _plots(references, run)
    return report


def _recorded_source(bundle: Bundle) -> Pretrained:
    recorded = bundle.manifest.source
    name = recorded.name
    try:
        return Pretrained.reopen(recorded.origin or Pretrained.origin_of(name))
    except InputError as error:
        raise InputError(
            f"{bundle.folder} was made from {shown(name)}, which cannot be opened from here ({error}); "
            "give the checkpoint with --model"
        ) from None


def _check_source(bundle: Bundle, source: Pretrained) -> None:
    if bundle.manifest.source.sha256 != source.sha256():
        raise InputError(
            f"{source.checkpoint.folder}: not the checkpoint that {bundle.folder} was made from (SHA-256 "
            "differs); "
            "give the right one with --model"
        )


def _bits(recipe: Recipe, model: FoldedModel) -> int:
    """The smallest width among the model's weights, fallbacks included."""
    return min(assignment.precision.bits for assignment in recipe.plan(model.module_shapes()))


def _run(
    bundle: Bundle,
    questions: list[Prompt],
    answers: Sequence[Sequence[int]],
    count: int,
    options: dict[str, str],
) -> tuple[list[Trace], list[list[int]], str]:
    """The artifact's traces, their ``count`` tokens (an answer's, then its own choice), and its name."""
    m = bundle.manifest
    backend = format_for(m.format).load(bundle.folder, context=m.context, chunk=m.chunk, **options)
    pairs = [
        trace_prompt(backend, prompt, m.ids.image, count, forced(answer))
        for prompt, answer in zip(questions, answers, strict=True)
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs], backend.name


def _unrounded(bundle: Bundle, references: list[Reference]) -> list[Check]:
    """The artifact's graphs and integers in fp32 arithmetic, against torch in the same."""
    artifact_format = format_for(bundle.manifest.format)
    questions, answers = [r.prompt for r in references], [r.tokens for r in references]
    try:
        traces, _, _ = _run(bundle, questions, answers, len(answers[0]), dict(artifact_format.unrounded))
    except NoRoomError as error:
        return [Check("left out", "not run", detail=str(error))]
    pairs = [(r.prompt, r.plain, t) for r, t in zip(references, traces, strict=True)]
    return _stages(pairs, artifact_format.name, "unrounded")


def _integers(
    stored: Mapping[str, QuantizedTensor],
    model: FoldedModel,
    calibrated: CalibratedQuantization | None = None,
) -> Check:
    """Every quantised weight of the model is in the artifact, integer by integer and scale by scale.

    ``calibrated`` holds the hashes that the integers must have.
    """
    wrong, quantised = [], set()
    for name in model.weights:
        weight, module = model.weights[name], name.removesuffix(".weight")
        if isinstance(weight, QuantizedTensor):
            quantised.add(module)
            if module not in stored or not _same(stored[module], weight):
                wrong.append(module)
    wrong += sorted(set(stored) - quantised)
    wrong = sorted({*wrong, *(differing(calibrated.integers, stored) if calibrated else ())})
    detail = f"{len(quantised)} quantised weights" + (f"; differs: {', '.join(wrong[:3])}" if wrong else "")
    return Check.at_most(
        "integers that differ", len(wrong), 0, "one set of integers serves every format", detail
    )


def _stored_cache(artifact_format: Format, bundle: Bundle) -> CacheScales | None:
    """The grid of an int8 KV cache that the artifact holds; a format without ``stored_cache`` has none."""
    read = getattr(import_module(artifact_format.exporter), "stored_cache", None)
    return read(bundle.folder) if read else None


def _cache_grid(stored: CacheScales | None, model: FoldedModel) -> list[Check]:
    """Every scale of an int8 KV cache is in the artifact; nothing to check where both caches are in float."""
    scales, expected = ([] if kv is None else [*kv.keys, *kv.values] for kv in (stored, model.kv))
    if not scales and not expected:
        return []
    wrong = sum(a is None or b is None or not bool((a == b).all()) for a, b in zip_longest(scales, expected))
    return [
        Check.at_most("cache scales that differ", wrong, 0, "the cache's integers mean what was calibrated")
    ]


def _same(a: QuantizedTensor, b: QuantizedTensor) -> bool:
    if a.shape != b.shape or a.bits != b.bits or a.scales.shape != b.scales.shape:
        return False
    return bool((a.values == b.values).all() and (a.scales == b.scales).all())


def _image_tokens(trace: Trace) -> Floats:
    assert trace.image_tokens is not None, "its prompt has a picture"
    return trace.image_tokens


def _error(values: Floats, expected: Floats) -> float:
    """Largest difference over the reference's root mean square; infinite for NaN or another shape."""
    if values.shape != expected.shape or not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values - expected).max() / _rms(expected))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _pooled(arrays: list[np.ndarray]) -> float:
    """Root mean square over several arrays together."""
    return _rms(np.concatenate([array.ravel() for array in arrays]))


Pair = tuple[Prompt, Trace, Trace]  # a prompt, the reference's trace of it, and the artifact's
Triple = tuple[Floats, Floats, Floats]  # the artifact's values, the reference's, and those without a grid


def _stages(pairs: list[Pair], format_name: str, kind: str) -> list[Check]:
    """Stage by stage, the largest difference over the reference's rms."""
    limit = tolerances.structure(format_name, kind)
    rows = [
        (
            "image tokens",
            [_error(_image_tokens(t), _image_tokens(r)) for p, r, t in pairs if p.pixels is not None],
        )
    ]
    rows.append(("prefill logits", [_error(t.logits[0], r.logits[0]) for _, r, t in pairs]))
    rows.append(("cached decode logits", [_error(t.logits[1:], r.logits[1:]) for _, r, t in pairs]))
    checks = [Check.at_most(name, max(e), limit.limit, limit.reason) for name, e in rows if e]
    slack = [2 * limit.limit * _rms(r.logits) for _, r, _ in pairs]
    return [*_embeddings(pairs, tolerances.embedding(format_name, kind)), *checks, _greedy(pairs, slack)]


def _embeddings(pairs: list[Pair], limit: tolerances.Tolerance) -> list[Check]:
    errors = [_error(t.embeddings, r.embeddings) for p, r, t in pairs if p.pixels is None]
    return [Check.at_most("embeddings", max(errors), limit.limit, limit.reason)] if errors else []


def _grid_stages(references: list[Reference], traces: list[Trace], format_name: str) -> list[Check]:
    """Stage by stage, the rms difference over what the runtime's activation grid costs at that stage."""
    pairs = list(zip(references, traces, strict=True))

    # Over all prompts together: what rounding costs at one position is a single draw, now and then a lucky
    # one, and a ratio of two draws says little. A fault of structure in any prompt still stands out, and the
    # lifted run is exact.
    def share(triples: list[Triple]) -> float:
        if any(
            values.shape != expected.shape or not np.isfinite(values).all() for values, expected, _ in triples
        ):
            return float("inf")
        error = _pooled([values - expected for values, expected, _ in triples])
        cost = _pooled([plain - expected for _, expected, plain in triples])
        return error / max(cost, 1e-6 * _pooled([expected for _, expected, _ in triples]))

    with_image = [(r, t) for r, t in pairs if r.prompt.pixels is not None]
    rows: list[tuple[str, list[Triple]]] = [
        (
            "image tokens",
            [(_image_tokens(t), _image_tokens(r.trace), _image_tokens(r.plain)) for r, t in with_image],
        ),
        # One row: prefill gives a single position of each prompt, too few draws for a limit, and its share of
        # the cache is in all the others. The lifted run holds it to its own limit.
        ("logits, prefill and cached decode", [(t.logits, r.trace.logits, r.plain.logits) for r, t in pairs]),
    ]

    def check(name: str, triples: list[Triple]) -> Check:
        # Where no weight has a grid before it.
        if all(np.array_equal(expected, plain) for _, expected, plain in triples):
            limit = tolerances.structure(format_name, "integer")
            return Check.at_most(name, max(_error(f, w) for f, w, _ in triples), limit.limit, limit.reason)
        limit, unit = tolerances.GRID, "of what rounding the activations costs"
        return Check.at_most(name, share(triples), limit.limit, limit.reason, unit)

    checks = [check(name, triples) for name, triples in rows if triples]
    traced = [(r.prompt, r.trace, t) for r, t in pairs]
    slack = [float(np.abs(r.plain.logits - r.trace.logits).max()) for r, _ in pairs]
    return [
        *_embeddings(traced, tolerances.embedding(format_name, "integer")),
        *checks,
        _greedy(traced, slack),
    ]


def _greedy(pairs: list[Pair], slack: list[float]) -> Check:
    """Tokens chosen otherwise than the reference, but for ties: choices whose logits lie within ``slack``."""
    other = ties = total = 0
    for (_, reference, trace), within in zip(pairs, slack, strict=True):
        expected = reference.logits[:-1]
        chosen, best = trace.logits[:-1].argmax(-1), expected.argmax(-1)
        rows = np.arange(len(expected))
        tie = expected[rows, best] - expected[rows, chosen] <= within
        other += int(((chosen != best) & ~tie).sum())
        ties += int(((chosen != best) & tie).sum())
        total += len(expected)
    detail = f"{total - other - ties} of {total} equal" + (
        f", {ties} within the rounding of a tie" if ties else ""
    )
    return Check.at_most("greedy tokens that differ", other, 0, "the same text, token for token", detail)


def _phantom(references: list[Reference], traces: list[Trace]) -> Check:
    """Distance to the model with phantom over that to the model without it: far below 1 if it is there."""
    near = far = 0.0
    for reference, trace in zip(references, traces, strict=True):
        near += float(np.abs(trace.logits - reference.trace.logits).mean())
        far += float(np.abs(trace.logits - reference.without).mean())
    count = len(traces)
    detail = f"mean logit distance: with phantom {near / count:.2e}, without {far / count:.2e}"
    reason = "an artifact without the phantom dimension lies nearer to the model without it: above 1"
    return Check.at_most(
        "phantom dimension present", near / far if far else float("inf"), 0.5, reason, detail
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    log_probabilities: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return log_probabilities


def divergence(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """KL(truth || model) in nats per position, from logits [n, vocab]."""
    # Position by position: of a true vocabulary, all at once would take gigabytes in float64.
    return np.array([_divergence(p, q) for p, q in zip(truth, logits, strict=True)])


def _divergence(truth: np.ndarray, logits: np.ndarray) -> float:
    p, q = _log_softmax(truth), _log_softmax(logits)
    return float((np.exp(p) * (p - q)).sum())


def _quality(references: list[Reference], traces: list[Trace], bits: int) -> list[Check]:
    pairs = list(zip(references, traces, strict=True))
    kl = np.concatenate([divergence(r.original, t.logits) for r, t in pairs])
    agree = float(np.concatenate([r.original.argmax(-1) == t.logits.argmax(-1) for r, t in pairs]).mean())
    largest = max(float(np.abs(r.original - t.logits).max()) for r, t in pairs)
    spread = float(np.sqrt(np.mean([r.original.std() ** 2 for r in references])))
    budget = tolerances.quality(bits)
    equal = sum(int((r.original[:-1].argmax(-1) == np.array(r.tokens)).all()) for r in references)
    tokens = len(references[0].tokens)
    return [
        Check.at_most("KL divergence, mean (nats)", float(kl.mean()), budget.limit, budget.reason),
        Check("KL divergence, largest (nats)", float(kl.max())),
        Check("top-1 agreement", agree, detail=f"over {len(kl)} positions"),
        Check("largest logit error", largest, detail=f"their std is {spread:.2f}"),
        Check("greedy answers equal", f"{equal} of {len(references)}", detail=f"{tokens} tokens each"),
    ]


def _plots(references: list[Reference], traces: list[Trace]) -> list[Plot]:
    names = tuple(r.prompt.name for r in references)
    kl = tuple(
        float(divergence(r.original, t.logits).mean()) for r, t in zip(references, traces, strict=True)
    )
    errors = tuple(_error(t.logits, r.trace.logits) for r, t in zip(references, traces, strict=True))
    return [
        Plot("Mean KL divergence from the original, per prompt (nats)", names, kl, log=True),
        Plot(
            "Largest logit difference from torch with the same integers, over its rms",
            names,
            errors,
            log=True,
        ),
    ]
