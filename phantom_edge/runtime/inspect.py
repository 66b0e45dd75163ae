"""What a checkpoint or a bundle holds, without running an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate
from phantom_edge.bundle.manifest import Manifest, TilePolicy
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.origin import short_name
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.stored import FLOAT_TYPES
from phantom_edge.model.certificate import contributions
from phantom_edge.model.fold import Fold
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.progress import Step, no_step
from phantom_edge.report.report import Plot, Report, Table, megabytes

DEFAULT_CONTEXT = 2048
LARGEST = 5  # files that a first look shows
PARTS = {
    "vision encoder": "vision_encoder.",
    "projector": "vision_encoder.projector.",
    "token embedding": "token_embedding.",
    "text decoder": "text_decoder.",
    "phantom dimension": ".phantom.",
    "head": "text_decoder.head.",
}


def inspect(
    model: str | None = None, *, revision: str | None = None, context: int | None = None, step: Step = no_step
) -> Report:
    """A report on a bundle or a checkpoint: a folder, a Hub id, or None for the embedded Nano.

    ``revision`` is a branch, a tag or a commit of an id.

    >>> pe.inspect("nano-desktop").title
    'nano-desktop: bundle for desktop'
    """
    located = locate(model, revision=revision, step=step)
    if isinstance(located, Bundle):
        return _bundle(located)
    return _checkpoint(located, context or DEFAULT_CONTEXT)


def _checkpoint(source: Pretrained, context: int) -> Report:
    c, checkpoint = source.config, source.checkpoint
    d, v = c.decoder, c.vision
    report = Report(
        "inspect",
        f"{short_name(source.name)}: Phantom checkpoint",
        {
            **_knows(source.knows),
            "decoder": f"{d.type}, {d.layers} layers, {d.hidden_size} wide, "
            f"{d.heads} heads over {d.kv_heads} kv heads "
            f"of {d.head_dim}, vocabulary {d.vocab_size}{', tied head' if d.tied_head else ''}",
            "vision encoder": f"{v.layers} layers, {v.hidden_size} wide, {v.heads} heads, "
            f"tiles of {v.image_size} px, "
            f"{c.tokens_per_tile} tokens each",
            "rotary embedding": f"{d.rope.kind}, theta {d.rope.theta:g}, "
            f"unchanged up to {d.rope.original_context}",
            "parameters": checkpoint.parameters,
            "stored as": f"{', '.join(checkpoint.dtypes)} in {len(checkpoint.files)} file(s)",
            "every prompt begins with": f"token {source.first_id} "
            f"({source.tokenizer.decode([source.first_id], skip_special=False)!r})",
        },
    )
    report.tables += [_parts(checkpoint), _memory(c, context)]
    changes = contributions(c, checkpoint, source.first_id)
    labels = tuple(f"layer {n}" for n in range(d.layers))
    report.plots.append(
        Plot("Largest change of a logit without the layer's phantom dimension", labels, tuple(changes))
    )
    report.tables.append(
        Table(
            "Phantom dimension",
            ("layer", "largest logit change without it"),
            tuple(zip(labels, changes, strict=True)),
            detail=True,
        )
    )
    report.facts["phantom dimension"] = _phantom(changes)
    return report


def _phantom(changes: Sequence[float]) -> str:
    """What the layers' phantom dimensions are worth, in a line."""
    most = max(range(len(changes)), key=changes.__getitem__)
    least = min(range(len(changes)), key=changes.__getitem__)
    return (
        f"in {len(changes)} layers; without it a logit moves by up to {changes[most]:.3g} (layer {most}), "
        f"at least {changes[least]:.3g} (layer {least})"
    )


def _parts(checkpoint: Checkpoint) -> Table:
    rows = []
    for part, marker in PARTS.items():
        keys = {
            key
            for name, source in checkpoint.sources.items()
            if (name.startswith(marker) or (marker.startswith(".") and marker in name))
            for key in source.keys
        }
        stored = [checkpoint.stored[key] for key in keys]
        counts = [prod(t.shape) for t in stored]
        size = sum(n * FLOAT_TYPES[t.dtype] for n, t in zip(counts, stored, strict=True))
        rows.append((part, sum(counts), megabytes(size)))
    title = "Parameters (the projector is part of the vision encoder; head and phantom of the decoder)"
    return Table(title, ("part", "parameters", "stored"), tuple(rows))


def _memory(config: PhantomConfig, context: int) -> Table:
    """KV cache by fold. A compressed fold is listed where its rank is below the head dimension."""
    d, rows = config.decoder, []
    for text in ("off", "rank:8", "rank:16", "exact"):
        fold = Fold.parse(text)
        if fold.rank is not None and fold.rank >= d.head_dim:
            continue
        spec = FoldedSpec(config, fold.phantom_dims(config))
        label = "without phantom" if text == "off" else f"fold {text}"
        rows.append(
            (label, spec.width(0), *(megabytes(spec.cache_bytes(context, size)) for size in (1, 2, 4)))
        )
    return Table(
        f"KV cache at {context} tokens", ("fold", "head dimension", "int8", "fp16", "fp32"), tuple(rows)
    )


def _sizes(tiles: TilePolicy) -> str:
    """The sizes of tiles that a bundle has, the default first."""
    others = [f"{other.size} ({other.tokens})" for other in tiles.others]
    more = f"; or of {', '.join(others)}" if others else ""
    trained = f", trained with {tiles.trained}" if tiles.trained else ""
    return f"{tiles.size} px, {tiles.tokens} tokens each{trained}{more}"


def _bundle(bundle: Bundle) -> Report:
    m = bundle.manifest
    report = Report(
        "inspect",
        f"{short_name(str(bundle.folder))}: bundle for {m.target}",
        {
            "format": m.format,
            "made from": short_name(m.source.name),
            **_knows(m.knows),
            "recipe": m.recipe.name,
            "fold": m.fold.fold,
            "context": m.context,
            "KV cache": m.kv_cache,
            "tiles": f"at most {m.tiles.max} of {_sizes(m.tiles)}",
            **_vocabulary(m),
            "size": megabytes(bundle.bytes),
            "verified": _verified(m),
        },
    )
    files = sorted(m.files.items(), key=lambda item: -item[1].bytes)
    rows = tuple((n, megabytes(e.bytes)) for n, e in files)
    report.tables.append(Table("Largest files", ("file", "size"), rows[:LARGEST]))
    report.tables.append(Table("All files", ("file", "size"), rows, detail=True))
    counts = [(graph, op, n) for graph, ops in m.counts.items() for op, n in ops.items()]
    report.facts["checked operations"] = ", ".join(
        f"{sum(ops.values()):,} in {graph}" for graph, ops in m.counts.items()
    )
    columns: tuple[str, ...] = ("graph", "operation", "count")
    report.tables.append(Table("Checked operations", columns, tuple(counts), detail=True))
    report.facts["phantom dimension"] = (
        f"folded in {len(m.fold.layers)} layers; that moved no logit by more than {m.fold.logit_change:.3g}, "
        f"over {m.fold.probe_tokens} tokens"
    )
    layers = [(x.layer, x.phantom_dim, x.score_bound, x.output_bound, x.logit_change) for x in m.fold.layers]
    columns = ("layer", "phantom dim", "score bound", "output bound", "logit change")
    report.tables.append(Table("Fold certificate", columns, tuple(layers), detail=True))
    for title, items in (("Notes", m.notes), ("Fallbacks", m.fallbacks.values())):
        if items:
            report.tables.append(Table(title, ("",), tuple((item,) for item in items)))
    return report


def _knows(sentence: str | None) -> dict[str, str]:
    """What the model says of itself, if anything."""
    return {} if sentence is None else {"knows": sentence}


def _vocabulary(manifest: Manifest) -> dict[str, str]:
    """What is left of it, where something is gone."""
    v = manifest.vocabulary
    if v is None:
        return {}
    return {"vocabulary": f"{v.kept} rows of {v.checkpoint}, measured by {', '.join(v.measured_by)}"}


def _verified(manifest: Manifest) -> str:
    if manifest.verification is None:
        return "no, it was switched off"
    return "yes, every check passed" if manifest.verification.ok else "yes, and it failed"
