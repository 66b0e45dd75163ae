"""The main job as one call: checkpoint in, verified bundle out."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from phantom_edge import __version__
from phantom_edge.bundle.folder import TOKENIZER, Bundle, finish, writing
from phantom_edge.bundle.golden import Golden, limits_for
from phantom_edge.bundle.manifest import (
    FLOAT,
    INT8,
    DecoderShape,
    GraphFiles,
    Manifest,
    ModelSource,
    TokenIds,
    Verification,
)
from phantom_edge.bundle.vocabulary import write_kept
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.base import GRAPHS, Exported, ExportOptions
from phantom_edge.model.bounds import FoldCertificate
from phantom_edge.model.certificate import certify
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original_run import OriginalRun
from phantom_edge.model.rope import check_context
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.pipeline.npu import NpuOptions, check_npu, rounding, scales_for
from phantom_edge.pipeline.quantization_report import plots, tables
from phantom_edge.pipeline.tiles import at_first_size, check_format, tile_policy
from phantom_edge.pipeline.vocabulary import add_measured, trimmed_source
from phantom_edge.pipeline.vocabulary import manifest_entry as manifest_vocabulary
from phantom_edge.progress import Step, Track, no_step, no_track
from phantom_edge.quantize.calibration import calibration_sets
from phantom_edge.quantize.job import quantize
from phantom_edge.quantize.kv import KVScales, kv_scales
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.store import (
    SIDECAR,
    check_source,
    for_source,
    is_stored,
    load,
    manifest_entry,
    write,
)
from phantom_edge.report.report import Report
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import QUESTION, default_images, prompts, trace_prompt
from phantom_edge.runtime.verify import verify
from phantom_edge.system.files import cache_folder
from phantom_edge.system.outputs import check_bundle_folder, default_folder
from phantom_edge.targets import Format, Target, format_for, target_for, targets
from phantom_edge.text.vocabulary import VocabularyRequest
from phantom_edge.versions import installed

REPORT = "report.html"
GOLDEN_TOKENS = 16
LIBRARIES = (
    "torch", "torchao", "executorch", "coremltools", "coreai-torch", "onnx", "onnxruntime", "onnxruntime-qnn",
    "numpy",
)  # fmt: skip


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how; fields left None follow from the target.

    ``kv_cache`` is ``float`` or ``int8``: with a scale for every channel, from the quantisation's file or
    measured over the calibration samples. ``fold`` is ``exact``, ``auto`` or ``rank:R``, ``context`` the KV
    cache in tokens, ``max_tiles`` the most tiles that a picture is cut into, ``tile_sizes`` their sides in
    pixels: the first is the default. ``npu`` is for targets with one. ``vocab`` are files and folders of
    text, or presets, whose pieces of the vocabulary are kept, in all at most ``vocab_size``; without one all
    are.

    >>> pe.ExportRequest(target="web", quantize=pe.QuantizeOptions("int8", ("*.fc2=fp16",))).fold
    'exact'
    """

    target: str = "ios"
    model: str | None = None
    revision: str | None = None
    output: Path | None = None
    format: str | None = None
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    kv_cache: str = FLOAT
    fold: str = "exact"
    context: int | None = None
    max_tiles: int | None = None
    tile_sizes: tuple[int, ...] = ()
    npu: NpuOptions = field(default_factory=NpuOptions)
    vocab: tuple[str, ...] = ()
    vocab_size: int | None = None
    verify: bool = True


@dataclass(frozen=True)
class ExportResult:
    """The finished bundle, and the verification report unless it was switched off."""

    bundle: Bundle
    report: Report | None


def export(request: ExportRequest, *, step: Step = no_step, track: Track = no_track) -> ExportResult:
    """Load, fold, quantise, export and verify; a bundle appears only when all of it is right.

    Raises :class:`InputError` for bad input before anything is computed, and :class:`CheckError`, leaving an
    earlier bundle as it was, when a check on the new one fails.

    >>> request = pe.ExportRequest("desktop", output=Path("nano-fp32"), quantize=pe.QuantizeOptions("fp32"))
    >>> result = pe.export(request)
    >>> result.report.ok, result.bundle.folder.name
    (True, 'nano-fp32')
    """
    plan = _Plan.of(request)
    step("opening the checkpoint")
    source = Pretrained.open(request.model, revision=request.revision, step=step)
    source, vocabulary = trimmed_source(source, plan.vocabulary, step)
    max_tiles = _max_tiles(request, plan.target, source)
    source, further = at_first_size(source, request.tile_sizes, max_tiles), request.tile_sizes[1:]
    spec, options = _options(request, plan.target, source, plan.recipe)
    stored = None if plan.stored is None else for_source(plan.stored, source)
    output = request.output or default_folder(source.name, plan.target.name)
    check_bundle_folder(output)
    model, certificate = _fold(source, plan.fold, step, track)
    model = model.with_tiles(source.checkpoint, further)
    quantization = stored or _calibrated(source, model, plan.quantize, step)
    model = quantization.apply(model, step) if quantization else model.quantized(plan.recipe, step)
    if request.kv_cache == INT8:
        model = model.with_kv(_cache_scales(plan.quantize, source, model, quantization, step))
    if plan.format.npu:
        model = model.with_rounding(rounding(request.npu, source, model, plan.quantize, step))
    with writing(output) as folder:
        step(f"writing {plan.format.title}")
        exported = plan.format.export(model, options, folder, step)
        source.tokenizer.save(folder / TOKENIZER)
        _golden(plan.format, model, source, spec, options).save(folder)
        for size in further:
            other = spec.at_tile(size, source.config.tokens_of(size))
            _golden(plan.format, model, source, other, options).save(folder, size)
        manifest = _manifest(plan, source, model, spec, options, certificate, exported)
        if vocabulary is not None:
            write_kept(folder, vocabulary.kept_ids)
            manifest = replace(manifest, vocabulary=manifest_vocabulary(source, vocabulary))
        if quantization:
            write(folder / SIDECAR, quantization, integers=False)
            manifest = replace(manifest, quantization=manifest_entry(quantization))
        report = None
        if request.verify:
            report = verify(Bundle(folder, manifest), source, model=model, step=step)
            add_measured(report, source, vocabulary, step)
            _write_report(folder / REPORT, report, quantization)
            manifest = replace(manifest, verification=Verification.of(report))
        finish(folder, manifest)
    return ExportResult(Bundle.open(output, check=False), report)


def check_request(request: ExportRequest, source: Pretrained) -> None:
    """Raise :class:`InputError` for whatever :func:`export` refuses before it computes, the output aside."""
    plan = _Plan.of(request)
    if plan.stored:
        check_source(plan.stored, source)
    source = at_first_size(source, request.tile_sizes, _max_tiles(request, plan.target, source))
    _options(request, plan.target, source, plan.recipe)
    plan.fold.phantom_dims(source.config)


@dataclass(frozen=True)
class _Plan:
    """A request with what follows from its target: all that can be refused before a checkpoint is opened."""

    target: Target
    format: Format
    fold: Fold
    quantize: QuantizeOptions
    stored: Quantization | None
    recipe: Recipe
    vocabulary: VocabularyRequest

    @classmethod
    def of(cls, request: ExportRequest) -> _Plan:
        target = target_for(request.target)
        artifact_format = target.artifact_format(request.format)
        _check_cache(request, target, artifact_format)
        check_format(request.tile_sizes, artifact_format)
        check_npu(request.npu, target, artifact_format, verify=request.verify)
        scales = target.scales or scales_for(request.npu, artifact_format)
        options = request.quantize.for_target(target.recipe, scales)
        stored = _stored(options)
        recipe = stored.recipe if stored else options.base
        fold = Fold.parse(request.fold)
        if fold.kind == "off":
            raise InputError(
                "fold 'off' drops the phantom dimension; it exists for checks only, use 'exact' or 'rank:R'"
            )
        vocabulary = VocabularyRequest(request.vocab, request.vocab_size)
        return cls(target, artifact_format, fold, options, stored, recipe, vocabulary)


def _stored(options: QuantizeOptions) -> Quantization | None:
    """The finished quantisation that the options name, if they name one."""
    if options.quant is None or not is_stored(options.quant):
        return None
    if options.calibrated or options.overrides or options.scales:
        raise InputError(
            f"{options.quant} holds finished integers: leave out --rule, --scales, --method, --calibrate, "
            "budgets"
        )
    return load(options.quant)


def _fold(source: Pretrained, fold: Fold, step: Step, track: Track) -> tuple[FoldedModel, FoldCertificate]:
    """The folded model with its certificate, for which the original runs once."""
    config, weights = source.config, source.checkpoint
    step("running the original")
    original = OriginalRun.of(config, weights, source.first_id)
    model = FoldedModel.of(config, weights, fold, source.first_id, track, original)
    step("certifying the fold")
    return model, certify(config, weights, model, original=original)


def _calibrated(
    source: Pretrained, model: FoldedModel, options: QuantizeOptions, step: Step
) -> Quantization | None:
    """Integers that are chosen over samples; None where plain rounding does."""
    if not options.calibrated:
        return None
    return quantize(source, model, options, cache=cache_folder() / "quantize", step=step)


def _check_cache(request: ExportRequest, target: Target, artifact_format: Format) -> None:
    """Raise :class:`InputError` for a type of KV cache that the target's runtime does not take or gain by."""
    if request.kv_cache not in (FLOAT, INT8):
        raise InputError(f"--kv-cache {request.kv_cache!r}: it is {FLOAT} or {INT8}")
    if request.kv_cache == INT8 and (target.browser or not artifact_format.int8_cache):
        able = [t.name for t in targets().values() if format_for(t.format).int8_cache and not t.browser]
        raise InputError(
            f"--kv-cache int8: what runs {artifact_format.title} for {target.name} has no attention over "
            f"it, or a slower one; leave the cache in {FLOAT}, or export for one of {', '.join(able)}"
        )


def _cache_scales(
    options: QuantizeOptions,
    source: Pretrained,
    model: FoldedModel,
    quantization: Quantization | None,
    step: Step,
) -> KVScales:
    """The quantisation's own scales where they are of this fold, else measured over calibration samples."""
    if quantization and quantization.cache and quantization.facts.get("fold") == str(model.fold):
        return KVScales.from_state(quantization.cache)
    fit, _ = calibration_sets(source, options.calibrate, options.samples)
    return kv_scales(model, fit.samples, lambda what: step(f"scales of the int8 cache: {what}"))


def _options(
    request: ExportRequest, target: Target, source: Pretrained, recipe: Recipe
) -> tuple[PromptSpec, ExportOptions]:
    """Prompt and export options, checked against the model before any weight is read."""
    config = source.config
    context = request.context
    if context is None:
        context = min(target.context, config.decoder.rope.original_context)
    check_context(config.decoder.rope, context)
    max_tiles = _max_tiles(request, target, source)
    spec = PromptSpec.of_source(source, folded=True, max_tiles=max_tiles)
    chunk, floats = min(target.chunk, context), str(recipe.float_type)
    chips = tuple(chip.name for chip in request.npu.chips)
    shared = not target.browser
    return spec, ExportOptions(context, chunk, floats, config.end_ids, share_data=shared, chips=chips)


def _max_tiles(request: ExportRequest, target: Target, source: Pretrained) -> int:
    trained = source.config.max_tiles or target.max_tiles
    return request.max_tiles or min(target.max_tiles, trained)


def _write_report(path: Path, report: Report, quantization: Quantization | None) -> None:
    """The page beside the artifact. Raises :class:`CheckError` for a report with a failure."""
    if not report.ok:
        rows = "; ".join(f"{c.name}: {c.value} (limit {c.limit}) {c.detail}".strip() for c in report.failures)
        raise CheckError(f"the export was discarded, because verification failed: {rows}")
    if quantization:
        report = replace(report, tables=tables(quantization), plots=report.plots + plots(quantization))
    path.write_text(report.to_html(dated=False), encoding="utf-8")


def _golden(
    artifact_format: Format, model: FoldedModel, source: Pretrained, spec: PromptSpec, options: ExportOptions
) -> Golden:
    """Inputs and expected outputs of every stage, for an app to test itself on the device it runs on."""
    reference = artifact_format.reference(model)
    image = default_images(spec.tile_size)["square"]
    room = options.context - GOLDEN_TOKENS
    prompt = prompts(spec, source.tokenizer, room, image, QUESTION)[0]
    backend = TorchBackend(reference, options.context, options.chunk)
    answer, tokens = trace_prompt(backend, prompt, spec.image_token_id, GOLDEN_TOKENS)
    assert prompt.pixels is not None  # the first prompt has a picture
    assert answer.image_tokens is not None
    return Golden(
        image=np.asarray(image),
        pixel_values=prompt.pixels,
        image_features=answer.image_tokens,
        input_ids=np.array([prompt.ids], dtype=np.int64),
        prefill_logits=answer.logits[:1],
        generated_ids=np.array(tokens, dtype=np.int64),
        limits=limits_for(artifact_format.name, rounds=reference.rounds_activations),
    )


def _manifest(
    plan: _Plan,
    source: Pretrained,
    model: FoldedModel,
    spec: PromptSpec,
    options: ExportOptions,
    certificate: FoldCertificate,
    exported: Exported,
) -> Manifest:
    assert model.recipe is not None, "the model is quantised"
    assignments = model.recipe.plan(model.module_shapes())
    d = source.config.decoder
    widths = tuple(model.spec.width(n) for n in range(d.layers))
    return Manifest(
        producer={"phantom_edge": __version__, "python": platform.python_version(), **installed(*LIBRARIES)},
        target=plan.target.name,
        browser=plan.target.browser,
        format=plan.format.name,
        graphs=GraphFiles(**{name: exported.files[name].as_posix() for name in GRAPHS}),
        counts=exported.counts,
        source=ModelSource(source.name, source.checkpoint.parameters, source.sha256(), source.origin),
        knows=source.knows,
        config=source.config,
        prompt=spec.template,
        tiles=tile_policy(source, spec, model.spec.other_tiles, exported),
        ids=TokenIds(source.first_id, spec.image_token_id, spec.end_ids),
        shape=DecoderShape(d.hidden_size, d.vocab_size, d.layers, d.kv_heads, widths),
        context=options.context,
        chunk=options.chunk,
        kv_cache=FLOAT if model.kv is None else INT8,
        cache_scales=None if model.kv is None else model.kv.fingerprint(),
        npu=exported.npu,
        recipe=model.recipe,
        fallbacks={assignment.name: assignment.reason for assignment in assignments if assignment.fallback},
        fold=certificate,
        notes=exported.notes,
        verification=None,
        quantization=None,
        files={},
    )
