"""Verify a bundle by running the files that ship, with two questions and two tolerances.

1. *Is the export right?* The artifact against the torch model with the same integers, stage by stage.
2. *Is the quantisation good?* The artifact against the original in fp32: KL divergence, top-1 agreement,
  greedy tokens.

Before them: does the bundle say what its checkpoint says? And because this is a Phantom: is the phantom
dimension in the artifact at all?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.bundle.manifest import Manifest
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, NoRoomError, shown
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import CacheScales
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.rounded_ops import Rounding
from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.ranges import Ranges
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.store import SIDECAR, of_bundle
from phantom_edge.report.report import Check, Report, megabytes
from phantom_edge.runtime.decoding import forced
from phantom_edge.runtime.torch_reference import Reference, make_references, model_input
from phantom_edge.runtime.traces import Prompt, Trace, prompts, trace_prompt
from phantom_edge.runtime.verify import far, golden, phantom, quality, reach, shipped, source, stages, weights
from phantom_edge.runtime.verify.questions import FILES, QUALITY, STRUCTURE, UNROUNDED
from phantom_edge.runtime.verify.subject import Broken, Subject, attempt, part
from phantom_edge.targets import Format, format_for

GREEDY_TOKENS: Final = 64
EMULATED_TOKENS: Final = 16
"""Where an NPU is emulated: a token takes a good part of a second of a small model."""
LARGE: Final = 100_000_000
"""Parameters from which on one picture and few tokens are emulated: a tile takes ten minutes."""
LARGE_TOKENS: Final = 4


def verify(
    bundle: Bundle,
    source: Pretrained | None = None,
    *,
    model: FoldedModel | None = None,
    image: Any = None,
    question: str | None = None,
    tokens: int | None = None,
    every_prompt: bool = False,
    step: Step = no_step,
) -> Report:
    """Run a bundle's files and compare them with the checkpoint they came from.

    ``source`` is that checkpoint, by default the one the manifest names; its SHA-256 must be the one
    recorded. ``model`` is the folded, quantised model if it is at hand. ``tokens`` is the number of greedy
    tokens per prompt (64; where an NPU is emulated, 16, and 4 of a large model): the artifact's own choices,
    at each of which torch is asked for its own. Where they agree all along, so do the texts. Of a large model
    one prompt runs on an emulated NPU, unless ``every_prompt``. What in the artifact cannot be read or run is
    a failed check.

    Raises :class:`InputError` for another checkpoint, and for a prompt that does not fit.

    >>> pe.verify(pe.Bundle.open("nano-desktop"), tokens=8).ok
    True
    """
    m = bundle.manifest
    source = source or _recorded_source(bundle)
    _check_source(bundle, source)
    artifact_format = format_for(m.format)
    report = Report(
        "verify",
        f"{m.source.name} for {m.target}: {artifact_format.title}, {m.recipe.name}",
        {"fold": m.fold.fold, "size": megabytes(bundle.bytes)},
        {FILES: [], UNROUNDED: [], STRUCTURE: [], QUALITY: []},
    )
    try:
        subject, integers = _subject(bundle, source, artifact_format, model, step)
        report.groups[STRUCTURE] += integers
        scope = _Scope.of(subject, tokens, every_prompt=every_prompt)
        _Verification(subject, report, scope, step).run(image, question)
    except Broken as broken:
        report.groups[STRUCTURE].append(broken.check)
    report.groups = {question: checks for question, checks in report.groups.items() if checks}
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


def _subject(
    bundle: Bundle, source: Pretrained, artifact_format: Format, model: FoldedModel | None, step: Step
) -> tuple[Subject, list[Check]]:
    """What is verified, and the checks of the integers and the cache's grid that the artifact holds.

    Raises :class:`Broken` where they cannot be read.
    """
    m = bundle.manifest
    with part("integers that differ"):
        stored = artifact_format.stored_weights(bundle.folder)
        cache = artifact_format.stored_cache(bundle.folder)
    with part(weights.RANGES):
        ranges = artifact_format.stored_ranges(bundle.folder)
    if model is None:
        step("folding and quantising the original")
        model = _model(bundle, source, stored, cache)
        model = model.with_rounding(_rounding(m, ranges))
    with part("integers that differ"):
        checks = [
            weights.integers(stored, model, m.quantization),
            *weights.cache_grid(cache, model, m.cache_scales),
        ]
    with part(weights.RANGES):
        checks += weights.ranges(ranges, model, m)
    return Subject.of(bundle, source, artifact_format, model), checks


def _model(
    bundle: Bundle, source: Pretrained, stored: Mapping[str, QuantizedTensor], cache: CacheScales | None
) -> FoldedModel:
    """The folded model with the recipe's integers, or with those that calibration chose."""
    m = bundle.manifest
    model = FoldedModel.of(source.config, source.checkpoint, Fold.parse(m.fold.fold), source.first_id)
    if m.quantization:
        with part("integers that differ"):
            model = of_bundle(bundle.folder / SIDECAR, stored).apply(model)
    else:
        model = model.quantized(m.recipe)
    with part("cache scales that differ"):
        return model.with_kv(cache)


def _rounding(manifest: Manifest, ranges: Ranges) -> Rounding | None:
    """What the manifest says that an NPU runs, with the ranges that the artifact holds."""
    if manifest.npu is None:
        return None
    graphs = {"vision_encoder", *(["text_decoder"] if "decode" in manifest.npu.graphs else [])}
    return Rounding(frozenset(graphs), ranges)


def _bits(recipe: Recipe, model: FoldedModel) -> int:
    """The smallest width among the model's weights, fallbacks included."""
    return min(assignment.precision.bits for assignment in recipe.plan(model.module_shapes()))


@dataclass(frozen=True)
class _Scope:
    """How many greedy tokens are run, and whether every prompt is."""

    tokens: int
    every_prompt: bool = True

    @classmethod
    def of(cls, subject: Subject, tokens: int | None, *, every_prompt: bool) -> _Scope:
        if not subject.artifact_format.npu:
            return cls(tokens or GREEDY_TOKENS)
        large = subject.source.checkpoint.parameters > LARGE
        default = LARGE_TOKENS if large else EMULATED_TOKENS
        return cls(tokens or default, every_prompt or not large)


@dataclass(frozen=True)
class _Prompts:
    """What is run: the first of ``all`` is the bundle's own test where ``golden`` is its file."""

    all: list[Prompt]
    golden: Golden | None = None

    def answers(self) -> list[Sequence[int]]:
        """What each run is given to append, before it chooses for itself."""
        answers: list[Sequence[int]] = [() for _ in self.all]
        if self.golden is not None:
            answers[0] = self.golden.generated_ids.tolist()
        return answers


class _Verification:
    """One verification under way: checks are added to its report as they are made."""

    def __init__(self, subject: Subject, report: Report, scope: _Scope, step: Step):
        self.subject, self.report, self.scope, self.step = subject, report, scope, step
        self._loaded: tuple[dict[str, str], Any] | None = None  # options of the last backend, and it

    def run(self, image: Any, question: str | None) -> None:
        """All checks. Raises :class:`Broken` where the artifact does not run."""
        subject, report, step, tokens = self.subject, self.report, self.step, self.scope.tokens
        step("comparing what the bundle says with the checkpoint")
        self._files()
        self._check_safe()
        run_prompts = self._prompts(image, question, tokens)
        if not self.scope.every_prompt and len(run_prompts.all) > 1:
            run_prompts = replace(run_prompts, all=run_prompts.all[:1])
            report.facts["emulated"] = f"one prompt, {tokens} tokens; all with --all-prompts and --tokens"
        step("running the artifact")
        with part("runs"):
            run, chosen, runtime = self._run(run_prompts.all, run_prompts.answers(), tokens, {})
        report.facts = {"runtime": runtime, **report.facts}
        step("running the torch model with the same integers, and the original")
        references = self._references(run_prompts.all, chosen)
        names = ", ".join(f"{r.prompt.name} ({len(r.prompt.ids)} tokens)" for r in references)
        report.facts["prompts"] = names
        report.groups[STRUCTURE] += attempt(
            reach.NAME, lambda: reach.checks(subject, self._inputs(references))
        )
        report.groups[UNROUNDED] += self._unrounded(references)
        report.groups[STRUCTURE] += self._as_shipped(references, run)
        self._golden(run_prompts.golden, references[0], run[0])
        report.groups[QUALITY] += quality.quality(
            references, run, _bits(subject.bundle.manifest.recipe, subject.model)
        )
        report.plots += quality.plots(references, run)

    def _files(self) -> None:
        subject, groups = self.subject, self.report.groups
        groups[FILES].append(source.manifest(subject))
        groups[FILES] += attempt("tokenizer rules that differ", lambda: source.tokenizer(subject))
        groups[FILES] += attempt(shipped.UNREAD, lambda: shipped.files(subject))
        groups[FILES] += attempt(shipped.DECLARED, lambda: [shipped.declared(subject)])
        groups[STRUCTURE] += attempt("floats that differ", lambda: [weights.floats(subject)])

    def _check_safe(self) -> None:
        """Raise :class:`Broken` for a program that is not an export's, where such may end this process."""
        names = {check.name for check in self.report.groups[FILES] if check.passed is False}
        if self.subject.artifact_format.aborts and shipped.DECLARED in names:
            reason = "not run: it is not as an export is, and its runtime could end this process"
            raise Broken(Check("runs", "not run", passed=False, detail=reason))

    def _prompts(self, image: Any, question: str | None, tokens: int) -> _Prompts:
        """The prompts as the checkpoint makes them, with the golden file's picture for the first of them."""
        subject, rows = self.subject, self.report.groups[FILES]
        room = subject.options.context - tokens
        own = prompts(subject.spec, subject.source.tokenizer, room, image, question)
        try:
            with part(golden.INPUTS):
                recorded = Golden.read(subject.bundle.folder)
                prompt = golden.golden_prompt(subject, recorded)
                rows.append(golden.inputs(subject, recorded, prompt))
        except Broken as broken:
            rows.append(broken.check)
            return _Prompts(own)
        if image is not None or question is not None or len(prompt.ids) > room:
            rows.append(
                Check("golden outputs", "not run", detail="its prompt is none of those that were run")
            )
            return _Prompts(own)
        rest = [one for one in own if one.name != golden.NAME]
        return _Prompts([prompt, *rest], recorded)

    def _run(
        self,
        questions: list[Prompt],
        answers: Sequence[Sequence[int]],
        count: int,
        options: Mapping[str, str],
    ) -> tuple[list[Trace], list[list[int]], str]:
        """The artifact's traces, their ``count`` tokens (an answer's, then its own choice), and its name."""
        backend = self._backend(options)
        pairs = [
            trace_prompt(backend, prompt, self.subject.spec.image_token_id, count, forced(answer))
            for prompt, answer in zip(questions, answers, strict=True)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], backend.name

    def _backend(self, options: Mapping[str, str]) -> Any:
        """The artifact's runtime; one at a time is in memory, and kept as long as the options stay."""
        if self._loaded is None or self._loaded[0] != options:
            self._loaded, subject = None, self.subject
            folder, context, chunk = subject.bundle.folder, subject.options.context, subject.options.chunk
            backend = subject.artifact_format.load(folder, context=context, chunk=chunk, **options)
            self._loaded = dict(options), backend
        return self._loaded[1]

    def _references(self, questions: list[Prompt], chosen: list[list[int]]) -> list[Reference]:
        subject = self.subject
        original = PhantomModel(subject.source.config, subject.source.checkpoint, keep=False)
        image_id, chunk = subject.spec.image_token_id, subject.options.chunk
        return make_references(subject.reference, original, questions, chosen, image_id, chunk)

    def _inputs(self, references: list[Reference]) -> list[ModelInput]:
        image_id, chunk = self.subject.spec.image_token_id, self.subject.options.chunk
        return [model_input(r.prompt, r.tokens, image_id, chunk) for r in references]

    def _unrounded(self, references: list[Reference]) -> list[Check]:
        """The artifact's graphs and integers in fp32 arithmetic, against torch in the same."""
        options = dict(self.subject.artifact_format.unrounded)
        if not options:
            return []
        self.step("running the artifact without its platform's rounding")
        try:
            return [*self._unrounded_stages(references, options), *self._far(options, "unrounded")]
        except NoRoomError as error:
            return [Check("left out", "not run", detail=str(error))]

    def _unrounded_stages(self, references: list[Reference], options: Mapping[str, str]) -> list[Check]:
        questions, answers = [r.prompt for r in references], [r.tokens for r in references]
        name = self.subject.artifact_format.name

        def checks() -> list[Check]:
            traces, _, _ = self._run(questions, answers, len(answers[0]), options)
            pairs = [(r.prompt, r.plain, t) for r, t in zip(references, traces, strict=True)]
            return [*stages.stages(pairs, name, "unrounded"), phantom.unrounded(references, traces)]

        return attempt("runs in fp32", checks)

    def _far(self, options: Mapping[str, str], kind: str) -> list[Check]:
        self.step("running the whole context")
        options = {**options, **dict(self.subject.artifact_format.fixed)}
        return attempt(
            "runs to the end of the context", lambda: far.checks(self.subject, self._backend(options), kind)
        )

    def _as_shipped(self, references: list[Reference], run: list[Trace]) -> list[Check]:
        subject, name = self.subject, self.subject.artifact_format.name
        kind = "integer" if _bits(subject.bundle.manifest.recipe, subject.model) < 16 else "float"
        if subject.reference.rounds_activations:
            checks = stages.grid_stages(references, run, name, npu=subject.artifact_format.npu)
        else:
            pairs = [(r.prompt, r.trace, t) for r, t in zip(references, run, strict=True)]
            checks = stages.stages(pairs, name, kind)
        if not any(c.name == phantom.NAME for c in self.report.groups[UNROUNDED]):
            checks.append(phantom.as_shipped(references, run))
        if not subject.artifact_format.unrounded:
            checks += self._far({}, kind)
        return checks

    def _golden(self, recorded: Golden | None, reference: Reference, trace: Trace) -> None:
        if recorded is None:
            return
        self.report.groups[FILES] += golden.outputs(recorded, reference)
        self.report.groups[STRUCTURE] += golden.self_test(self.subject, recorded, trace)
