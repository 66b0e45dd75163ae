"""The main job as one call: checkpoint in, verified bundle out."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from phantom_edge import __version__
from phantom_edge.bundle.folder import GOLDEN, TOKENIZER, Bundle, check_output, finish, writing
from phantom_edge.bundle.manifest import (
    FLOAT,
    INT8,
    DecoderShape,
    GraphFiles,
    Manifest,
    ModelSource,
    TilePolicy,
    TokenIds,
    Verification,
)
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.files import cache_folder
from phantom_edge.model.bounds import FoldCertificate
from phantom_edge.model.certificate import certify
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original_run import OriginalRun
from phantom_edge.model.rope import check_context
from phantom_edge.numbers.recipe import Recipe, load_recipe
from phantom_edge.pipeline.quantization_report import plots, tables
from phantom_edge.progress import Step, Track, no_step, no_track
from phantom_edge.quantize.calibration import calibration_sets
from phantom_edge.quantize.job import quantize
from phantom_edge.quantize.kv import KVScales, kv_scales
from phantom_edge.quantize.options import MIXED, QuantizeOptions
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.store import SIDECAR, check_source, is_stored, load, manifest_entry, save
from phantom_edge.report.report import Report
from phantom_edge.runtime.session import PromptSpec
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import QUESTION, default_images, prompts, trace_prompt
from phantom_edge.runtime.verify import verify
from phantom_edge.targets import Format, Target, format_for, target_for, targets
from phantom_edge.versions import installed

REPORT = "report.html"
GOLDEN_TOKENS = 16
LIBRARIES = ("torch", "torchao", "executorch", "coremltools", "coreai-torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how; fields left None follow from the target.

    ``quant`` is a preset, ``mixed``, a TOML file or a quantisation's file; ``overrides`` are
    ``pattern=precision`` rules. ``method``, ``calibrate``, ``samples`` and the budgets are
    :class:`QuantizeOptions`'s; with none of them a preset is rounded to the nearest, which needs no data.
    ``kv_cache`` is ``float`` or ``int8``: with a scale for every channel, from the quantisation's file or
    found over the calibration samples. ``fold`` is ``exact``, ``auto`` or ``rank:R``, ``context`` the KV
    cache in tokens, ``max_tiles`` the most tiles that a picture is cut into.

    >>> pe.ExportRequest(target="web", quant="int8", overrides=("*.fc2=fp16",)).fold
    'exact'
    """

    target: str = "ios"
    model: str | None = None
    revision: str | None = None
    output: Path | None = None
    format: str | None = None
    quant: str | None = None
    kv_cache: str = FLOAT
    overrides: tuple[str, ...] = ()
    method: str | None = None
    calibrate: Path | None = None
    samples: int | None = None
    budget_mb: float | None = None
    budget_kl: float | None = None
    fold: str = "exact"
    context: int | None = None
    max_tiles: int | None = None
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

    >>> request = pe.ExportRequest(target="desktop", output=Path("nano-fp32"), quant="fp32")
    >>> result = pe.export(request)
    >>> result.report.ok, result.bundle.folder.name
    (True, 'nano-fp32')
    """
    target = target_for(request.target)
    artifact_format = target.artifact_format(request.format)
    _check_cache(request, target, artifact_format)
    quant, stored = _quantization(request, target)
    recipe = stored.recipe if stored else quant.base if quant else _preset(request, target)
    fold = Fold.parse(request.fold)
    if fold.kind == "off":
        raise InputError(
            "fold 'off' drops the phantom dimension; it exists for checks only, use 'exact' or 'rank:R'"
        )
    step("opening the checkpoint")
    source = Pretrained.open(request.model, revision=request.revision)
    spec, options = _options(request, target, source, recipe)
    if stored:
        check_source(stored, source)
    output = request.output or Path(f"{Path(source.name).name}-{target.name}")
    check_output(output)
    step("running the original")
    original = OriginalRun.of(source.config, source.checkpoint, source.first_id)
    model = FoldedModel.of(source.config, source.checkpoint, fold, source.first_id, track, original)
    step("certifying the fold")
    certificate = certify(source.config, source.checkpoint, model, original=original)
    found = stored or (
        quantize(source, model, quant, cache=cache_folder() / "quantize", step=step) if quant else None
    )
    model = found.apply(model, step) if found else model.quantized(recipe, step)
    if request.kv_cache == INT8:
        model = model.with_kv(_cache_scales(request, source, model, found, step))
    with writing(output) as folder:
        step(f"writing {artifact_format.title}")
        exported = artifact_format.export(model, options, folder, step)
        source.tokenizer.save(folder / TOKENIZER)
        if found:
            save(folder / SIDECAR, found, integers=False)
        _write_golden(folder / GOLDEN, artifact_format.reference(model), source, spec, options)
        manifest = _manifest(target, artifact_format, source, model, spec, options, certificate, exported)
        if found:
            manifest = replace(manifest, quantization=manifest_entry(found))
        report = None
        if request.verify:
            report = verify(Bundle(folder, manifest), source, model=model, step=step)
            if not report.ok:
                raise CheckError(_failure(report))
            page = (
                replace(report, tables=tables(found), plots=report.plots + plots(found)) if found else report
            )
            (folder / REPORT).write_text(page.to_html(), encoding="utf-8")
            manifest = replace(manifest, verification=Verification.of(report))
        finish(folder, manifest)
    return ExportResult(Bundle.open(output, check=False), report)


def _preset(request: ExportRequest, target: Target) -> Recipe:
    return load_recipe(request.quant or target.recipe, request.overrides)


def _quantization(
    request: ExportRequest, target: Target
) -> tuple[QuantizeOptions | None, Quantization | None]:
    """How to calibrate, or the finished quantisation that was named; neither for plain rounding."""
    asked = (request.method, request.calibrate, request.samples, request.budget_mb, request.budget_kl)
    calibrated = any(value is not None for value in asked)
    if is_stored(request.quant):
        if calibrated or request.overrides:
            raise InputError(
                f"{request.quant} holds finished integers: leave out --rule, --method, --calibrate, budgets"
            )
        return None, load(request.quant)
    quant = request.quant or target.recipe
    if quant != MIXED and not calibrated:
        return None, None
    return QuantizeOptions(
        quant,
        request.overrides,
        request.method,
        request.calibrate,
        request.samples,
        request.budget_mb,
        request.budget_kl,
    ), None


def _check_cache(request: ExportRequest, target: Target, artifact_format: Format) -> None:
    """Raise :class:`InputError` for a type of KV cache that the target's runtime does not take or gain by."""
    if request.kv_cache not in (FLOAT, INT8):
        raise InputError(f"--kv-cache {request.kv_cache!r}: it is {FLOAT} or {INT8}")
    if request.kv_cache == INT8 and (target.browser or not artifact_format.int8_cache):
        able = [t.name for t in targets().values() if format_for(t.format).int8_cache and not t.browser]
        raise InputError(
            f"--kv-cache int8: what runs {artifact_format.title} for {target.name} has no attention over "
            "it, or a "
            f"slower one; leave the cache in {FLOAT}, or export for {' or '.join(able)}"
        )


def _cache_scales(
    request: ExportRequest, source: Pretrained, model: FoldedModel, found: Quantization | None, step: Step
) -> KVScales:
    """The quantisation's own scales where they are of this fold, else scales found over the calibration
    samples.
    """
    if found is not None and found.cache and found.facts.get("fold") == str(model.fold):
        return KVScales.from_state(found.cache)
    fit, _ = calibration_sets(source, request.calibrate, request.samples)
    return kv_scales(model, fit.samples, lambda what: step(f"scales of the int8 cache: {what}"))


def _options(
    request: ExportRequest, target: Target, source: Pretrained, recipe: Recipe
) -> tuple[PromptSpec, ExportOptions]:
    """Prompt and export options, checked against the model before any weight is read."""
    config = source.config
    context = (
        min(target.context, config.decoder.rope.original_context)
        if request.context is None
        else request.context
    )
    check_context(config.decoder.rope, context)
    trained = source.config.max_tiles or target.max_tiles
    max_tiles = request.max_tiles or min(target.max_tiles, trained)
    spec = PromptSpec.of_source(source, folded=True, max_tiles=max_tiles)
    chunk, floats = min(target.chunk, context), str(recipe.float_type)
    return spec, ExportOptions(context, chunk, floats, config.end_ids, share_data=not target.browser)


def _failure(report: Report) -> str:
    rows = "; ".join(f"{c.name}: {c.value} (limit {c.limit}) {c.detail}".strip() for c in report.failures)
    return f"the export was discarded, because verification failed: {rows}"


def _write_golden(
    path: Path, held: FoldedModel, source: Pretrained, spec: PromptSpec, options: ExportOptions
) -> None:
    """Inputs and expected outputs of every stage, for an app to test itself on the device it runs on."""
    from safetensors.numpy import save_file

    image = default_images(spec.tile_size)["square"]
    room = options.context - GOLDEN_TOKENS
    prompt = prompts(spec, source.tokenizer, room, image, QUESTION)[0]
    backend = TorchBackend(held, options.context, options.chunk)
    answer, tokens = trace_prompt(backend, prompt, spec.image_token_id, GOLDEN_TOKENS)
    arrays = {
        "image": np.asarray(image),
        "pixel_values": prompt.pixels,
        "image_features": answer.image_tokens,
        "input_ids": np.array([prompt.ids], dtype=np.int64),
        "prefill_logits": answer.logits[:1],
        "generated_ids": np.array(tokens, dtype=np.int64),
    }
    save_file(
        {name: np.ascontiguousarray(a) for name, a in arrays.items()},
        path,
        {"expected": "torch, same integers"},
    )


def _manifest(
    target: Target,
    artifact_format: Format,
    source: Pretrained,
    model: FoldedModel,
    spec: PromptSpec,
    options: ExportOptions,
    certificate: FoldCertificate,
    exported: Exported,
) -> Manifest:
    plan = model.recipe.plan(model.module_shapes())
    d = source.config.decoder
    widths = tuple(model.spec.width(n) for n in range(d.layers))
    return Manifest(
        producer={
            "phantom_edge": __version__,
            "python": platform.python_version(),
            **installed(*LIBRARIES),
        },
        target=target.name,
        browser=target.browser,
        format=artifact_format.name,
        graphs=GraphFiles(**{name: path.as_posix() for name, path in exported.files.items()}),
        counts=exported.counts,
        source=ModelSource(source.name, source.checkpoint.parameters, source.sha256()),
        config=source.config,
        prompt=spec.template,
        tiles=TilePolicy(spec.tile_size, spec.tokens_per_tile, spec.max_tiles, thumbnail=True),
        ids=TokenIds(source.first_id, spec.image_token_id, spec.end_ids),
        shape=DecoderShape(d.hidden_size, d.vocab_size, d.layers, d.kv_heads, widths),
        context=options.context,
        chunk=options.chunk,
        kv_cache=FLOAT if model.kv is None else INT8,
        recipe=model.recipe,
        fallbacks={assignment.name: assignment.reason for assignment in plan if assignment.fallback},
        fold=certificate,
        notes=exported.notes,
        verification=None,
        quantization=None,
        files={},
    )
