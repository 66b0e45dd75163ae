"""Verify a bundle by running the files that ship, with two questions and two tolerances.

1. *Is the export right?* The artifact against the torch model with the same integers, stage by stage.
2. *Is the quantisation good?* The artifact against the original in fp32: KL divergence, top-1 agreement,
  greedy tokens.

Before them: does the bundle say what its checkpoint says? And because this is a Phantom: is the phantom
dimension in the artifact at all?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.bundle.manifest import Manifest
from phantom_edge.checkpoint.origin import short_name
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.tailored import at_tile_size
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
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.arm.environment import environment
from phantom_edge.runtime.arm.machine import Machine, chosen_core
from phantom_edge.runtime.decoding import forced
from phantom_edge.runtime.tolerances import Tolerance
from phantom_edge.runtime.torch_reference import Reference, make_references, model_input
from phantom_edge.runtime.traces import Prompt, Trace, prompts, trace_prompt
from phantom_edge.runtime.verify import (
    chips,
    far,
    golden,
    phantom,
    quality,
    reach,
    shipped,
    side_by_side,
    source,
    stages,
    tiles,
    vocabulary,
    weights,
)
from phantom_edge.runtime.verify.questions import (
    ARM,
    ARM_UNROUNDED,
    FILES,
    QUALITY,
    STRUCTURE,
    UNROUNDED,
    VOCABULARY,
)
from phantom_edge.runtime.verify.scope import Prompts, Scope
from phantom_edge.runtime.verify.subject import Broken, Subject, attempt, part
from phantom_edge.targets import Format, format_for


def verify(
    bundle: Bundle,
    source: Pretrained | None = None,
    *,
    model: FoldedModel | None = None,
    image: Any = None,
    question: str | None = None,
    tokens: int | None = None,
    every_prompt: bool = False,
    machine: str | None = None,
    cpu: str | None = None,
    step: Step = no_step,
) -> Report:
    """Run a bundle's files and compare them with the checkpoint they came from.

    ``source`` is that checkpoint, by default the one the manifest names; its SHA-256 must be the one
    recorded. ``model`` is the folded, quantised model if it is at hand. ``tokens`` is the number of greedy
    tokens per prompt (64; where an NPU is emulated, 16, and 4 of a large model): the artifact's own choices,
    at each of which torch is asked for its own. Where they agree all along, so do the texts. Of a large model
    one prompt runs on an emulated NPU, unless ``every_prompt``. What in the artifact cannot be read or run is
    a failed check.

    ``machine``, which may be ``arm64``, runs the artifact on an emulated processor ``cpu`` and holds it to
    its own run here as well; the first time it is set up, over the network.

    Raises :class:`InputError` for another checkpoint, for a prompt that does not fit, and for a machine that
    cannot be had.

    >>> pe.verify(pe.Bundle.open("nano-desktop"), tokens=8).ok
    True
    """
    m = bundle.manifest
    artifact_format = format_for(m.format)
    core = chosen_core(machine, cpu, artifact_format.name)
    source = vocabulary.trimmed(bundle, source or _recorded_source(bundle))
    _check_source(bundle, source)
    source = tiles.at_the_bundles_size(bundle, source)
    emulated = None if core is None else Machine(core, environment(step))
    report = Report(
        "verify",
        f"{short_name(m.source.name)} for {m.target}: {artifact_format.title}, {m.recipe.name}",
        {"fold": m.fold.fold, "size": megabytes(bundle.bytes)},
        {group: [] for group in (FILES, VOCABULARY, UNROUNDED, ARM_UNROUNDED, STRUCTURE, ARM, QUALITY)},
        provenance=_digests(bundle),
    )
    try:
        subject, integers = _subject(bundle, source, artifact_format, model, step)
        report.groups[STRUCTURE] += integers
        scope = Scope.of(subject, tokens, every_prompt=every_prompt)
        _Verification(subject, report, scope, step, emulated).run(image, question)
    except Broken as broken:
        report.groups[STRUCTURE].append(broken.check)
    report.groups = {question: checks for question, checks in report.groups.items() if checks}
    return report


def _digests(bundle: Bundle) -> dict[str, str]:
    """Of the checkpoint, and of the bundle where it is finished."""
    files = bundle.manifest.source.sha256.items()
    digests = {"checkpoint, SHA-256": "; ".join(f"{name} {digest}" for name, digest in files)}
    return digests | ({"bundle, SHA-256": bundle.digest} if bundle.manifest.files else {})


def _recorded_source(bundle: Bundle) -> Pretrained:
    try:
        return bundle.source()
    except InputError as error:
        name = shown(bundle.manifest.source.name)
        raise InputError(
            f"{bundle.folder} was made from {name}, which cannot be opened from here ({error}); "
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
        model = _model(bundle, source, stored, cache).with_rounding(_rounding(m, ranges))
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
    model = model.with_tiles(source.checkpoint, [other.size for other in m.tiles.others])
    if m.quantization:
        with part("integers that differ"):
            model = of_bundle(bundle.folder / SIDECAR, stored).apply(model)
    else:
        model = model.quantized(m.recipe)
    with part("cache scales that differ"):
        return model.with_kv(cache)


def _bits(recipe: Recipe, model: FoldedModel) -> int:
    """The smallest width among the model's weights, fallbacks included."""
    return min(assignment.precision.bits for assignment in recipe.plan(model.module_shapes()))


def _rounding(manifest: Manifest, ranges: Ranges) -> Rounding | None:
    """What the manifest says that an NPU runs, with the ranges that the artifact holds."""
    if manifest.npu is None:
        return None
    graphs = {"vision_encoder", *(["text_decoder"] if "decode" in manifest.npu.graphs else [])}
    return Rounding(frozenset(graphs), ranges)


class _Verification:
    """One verification under way: checks are added to its report as they are made."""

    def __init__(
        self, subject: Subject, report: Report, scope: Scope, step: Step, machine: Machine | None = None
    ):
        self.subject, self.report, self.scope, self.step = subject, report, scope, step
        self.machine = machine
        # How the last backend was loaded, and it.
        self._loaded: tuple[tuple[bool, dict[str, str]], Any] | None = None
        self._unrounded_traces: list[Trace] = []

    def run(self, image: Any, question: str | None) -> None:
        """All checks. Raises :class:`Broken` where the artifact does not run."""
        subject, report, step, tokens = self.subject, self.report, self.step, self.scope.tokens
        step("comparing what the bundle says with the checkpoint")
        self._files()
        self._check_safe()
        report.groups[VOCABULARY] += vocabulary.checks(subject)
        report.tables += vocabulary.costs(subject)
        every = self._prompts(image, question, tokens)
        run_prompts = self.scope.chosen(every)
        step("running the artifact")
        with part("runs"):
            run, chosen = self._run(run_prompts.all, run_prompts.answers(), tokens, {})
            facts = {**self.scope.fact(every), **chips.facts(subject.bundle)}
            report.facts = {**self._runtime({}), **report.facts, **facts}
        step("running the torch model with the same integers, and the original")
        references = self._references(run_prompts.all, chosen)
        own = self._on_machine(references)
        names = ", ".join(f"{r.prompt.name} ({len(r.prompt.ids)} tokens)" for r in references)
        report.facts["prompts"] = names
        report.groups[STRUCTURE] += attempt(
            reach.NAME, lambda: reach.checks(subject, self._inputs(references))
        )
        report.groups[UNROUNDED] += self._unrounded(references)
        report.groups[STRUCTURE] += self._as_shipped(own, run)
        every_chip = self.scope.every_prompt
        report.groups[STRUCTURE] += chips.checks(subject, references[0], every=every_chip)
        self._golden(run_prompts, references, run)
        if self.machine is not None:
            self._against_here(references, own, run)
        report.groups[QUALITY] += quality.quality(
            references, run, _bits(subject.bundle.manifest.recipe, subject.model)
        )
        report.plots += quality.plots(references, run)
        report.examples += side_by_side.examples(subject, references, run, subject.artifact_format.name)
        report.conclusion = side_by_side.conclusion(report.examples)
        report.groups[VOCABULARY] += vocabulary.removed_choices(references)

    def _files(self) -> None:
        subject, groups = self.subject, self.report.groups
        groups[FILES].append(source.manifest(subject))
        groups[FILES] += attempt("tokenizer rules that differ", lambda: source.tokenizer(subject))
        groups[FILES] += attempt(shipped.UNREAD, lambda: shipped.files(subject))
        groups[FILES] += attempt(shipped.DECLARED, lambda: [shipped.declared(subject)])
        groups[FILES] += attempt(chips.DECODERS, lambda: chips.decoders(subject))
        groups[STRUCTURE] += attempt("floats that differ", lambda: [weights.floats(subject)])

    def _check_safe(self) -> None:
        """Raise :class:`Broken` for a program that is not an export's, where such may end this process."""
        names = {check.name for check in self.report.groups[FILES] if check.passed is False}
        if self.subject.artifact_format.aborts and shipped.DECLARED in names:
            reason = "not run: it is not as an export is, and its runtime could end this process"
            raise Broken(Check("runs", "not run", passed=False, detail=reason))

    def _prompts(self, image: Any, question: str | None, tokens: int) -> Prompts:
        """The prompts as the checkpoint makes them, with the golden file's picture for the first of them."""
        subject, rows = self.subject, self.report.groups[FILES]
        room = subject.options.context - tokens
        own = prompts(subject.spec, subject.source.tokenizer, room, image, question)
        made, checks = tiles.further(subject, room, image, question)
        rows += checks
        further = tuple(made)
        try:
            with part(golden.INPUTS):
                recorded = Golden.read(subject.bundle.folder)
                prompt = golden.golden_prompt(subject, recorded, subject.spec.tile_size)
                rows.append(golden.inputs(subject, recorded, prompt))
        except Broken as broken:
            rows.append(broken.check)
            return Prompts(own, further=further)
        if image is not None or question is not None or len(prompt.ids) > room:
            rows.append(
                Check("golden outputs", "not run", detail="its prompt is none of those that were run")
            )
            return Prompts(own, further=further)
        rest = [one for one in own if one.name != golden.NAME]
        return Prompts([prompt, *rest], recorded, further)

    def _run(
        self,
        questions: list[Prompt],
        answers: Sequence[Sequence[int]],
        count: int,
        options: Mapping[str, str],
        here: bool = False,
    ) -> tuple[list[Trace], list[list[int]]]:
        """The artifact's traces, and their ``count`` tokens: an answer's, then its own choice."""
        backend = self._backend(options, here)
        pairs = [
            trace_prompt(backend, prompt, self.subject.spec.image_token_id, count, forced(answer))
            for prompt, answer in zip(questions, answers, strict=True)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _backend(self, options: Mapping[str, str], here: bool = False) -> Any:
        """The artifact's runtime, emulated where a machine is named unless it is for a run ``here``.

        One at a time is in memory, and kept as long as nothing changes.
        """
        key = (here, dict(options))
        if self._loaded is None or self._loaded[0] != key:
            self._loaded, subject = None, self.subject
            folder, context, chunk = subject.bundle.folder, subject.options.context, subject.options.chunk
            load = subject.artifact_format.load if here or self.machine is None else self.machine.load
            self._loaded = key, load(folder, context=context, chunk=chunk, **options)
        return self._loaded[1]

    def _runtime(self, options: Mapping[str, str]) -> dict[str, str]:
        """What the report says of the runtime, and of the machine that it is emulated on."""
        backend = self._backend(options)
        facts = {} if self.machine is None else self.machine.facts(backend.features)
        return {"runtime": backend.name, **facts}

    def _references(
        self, questions: list[Prompt], chosen: list[list[int]], model: FoldedModel | None = None
    ) -> list[Reference]:
        """What torch answers with ``model``, by default with that of the bundle's format."""
        subject = self.subject
        whole, kept = subject.source.whole or subject.source, subject.source.kept_ids
        trained = at_tile_size(whole.checkpoint, None)  # the original interpolates by itself
        original = PhantomModel(trained.config, trained, keep=False)
        image_id, chunk = subject.spec.image_token_id, subject.options.chunk
        return make_references(model or subject.reference, original, questions, chosen, image_id, chunk, kept)

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
            traces, _ = self._run(questions, answers, len(answers[0]), options)
            self._unrounded_traces = traces
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
        subject = self.subject
        npu = subject.artifact_format.npu  # within its operations the order of roundings is not known
        expected = [r.plain if npu else r.trace for r in references]
        limit = tolerances.NPU if npu else tolerances.GRID
        checks = self._shipped_stages(run, expected, [references], limit)
        if not any(c.name == phantom.NAME for c in self.report.groups[UNROUNDED]):
            checks.append(phantom.as_shipped(references, run))
        if not subject.artifact_format.unrounded:
            checks += self._far({}, self._kind)
        return checks

    @property
    def _kind(self) -> str:
        """The row of tolerances for the artifact as it ships."""
        return "integer" if _bits(self.subject.bundle.manifest.recipe, self.subject.model) < 16 else "float"

    def _shipped_stages(
        self, run: list[Trace], expected: list[Trace], grids: Sequence[list[Reference]], limit: Tolerance
    ) -> list[Check]:
        """Stage by stage, a run of the artifact as it ships against what is expected of it."""
        name = self.subject.artifact_format.name
        if self.subject.reference.rounds_activations:
            return stages.grid_stages(run, expected, grids, name, limit)
        pairs = [(r.prompt, e, t) for r, e, t in zip(grids[0], expected, run, strict=True)]
        return stages.stages(pairs, name, self._kind)

    def _on_machine(self, references: list[Reference]) -> list[Reference]:
        """The references with the activation grids of the emulated machine, where there is one."""
        if self.machine is None or not self.subject.reference.rounds_activations:
            return references
        self.step("running the torch model with the machine's rounding")
        model = self.subject.reference.on_grid(self.machine.grids(self._backend({}).features))
        return self._references([r.prompt for r in references], [r.tokens for r in references], model)

    def _against_here(self, references: list[Reference], own: list[Reference], run: list[Trace]) -> None:
        """The same prompts and tokens once more on this machine: the emulated run against that.

        ``own`` are the references with the emulated machine's grids, ``references`` those with this one's.
        """
        self.step("running the artifact on this machine")
        questions, answers = [r.prompt for r in references], [r.tokens for r in references]
        name, unrounded = self.subject.artifact_format.name, dict(self.subject.artifact_format.unrounded)

        def here(options: Mapping[str, str]) -> list[Trace]:
            return self._run(questions, answers, len(answers[0]), options, here=True)[0]

        def unrounded_checks() -> list[Check]:
            pairs = zip(questions, here(unrounded), self._unrounded_traces, strict=True)
            return stages.stages(list(pairs), name, "unrounded")

        groups = self.report.groups
        if self._unrounded_traces:
            groups[ARM_UNROUNDED] += attempt("runs here", unrounded_checks)
        limit, grids = tolerances.ACROSS, (own, references)
        groups[ARM] += attempt("runs here", lambda: self._shipped_stages(run, here({}), grids, limit))

    def _golden(self, prompts: Prompts, references: list[Reference], run: list[Trace]) -> None:
        subject, groups = self.subject, self.report.groups
        if prompts.golden is not None:
            groups[FILES] += golden.outputs(prompts.golden, references[0])
            size = subject.spec.tile_size
            groups[STRUCTURE] += golden.self_test(subject, prompts.golden, run[0], size)
        count = len(prompts.own)
        for one, reference, trace in zip(prompts.further, references[count:], run[count:], strict=True):
            if one.golden is not None:
                which = f"golden at {one.size}:"
                groups[FILES] += golden.outputs(one.golden, reference, which)
                groups[STRUCTURE] += golden.self_test(subject, one.golden, trace, one.size, which)
