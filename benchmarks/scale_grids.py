"""What LPBQ's grid of scales costs against the free one, on a model's own weights and next tokens.

    python -m benchmarks.scale_grids --sets 12

Both grids get the same calibration, and the same held-out pictures measure them. A mean KL divergence hangs
on single positions, so that another calibration set moves it by a third. How much larger the error of a
position is tells the geometric mean over all positions of the ratio of the two, which varies less.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from phantom_edge.bench.machine import describe
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.numbers.grid import RANGES, round_scale
from phantom_edge.numbers.recipe import FP16, PRESETS, Recipe, ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize import mixed
from phantom_edge.quantize.budget import recipe_of, under_bytes
from phantom_edge.quantize.calibration import SAMPLES, Sample, drawn_set
from phantom_edge.quantize.job import MIXED_SIZE, SENSITIVITY_SAMPLES
from phantom_edge.quantize.layerwise import integers_by_precision, quantize_layerwise
from phantom_edge.quantize.methods import METHODS
from phantom_edge.quantize.quality import divergence
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.sensitivity import shares

NOISE = 1e-12
"""Nats; below it a position's divergence is rounding."""
ROWS = 64
"""Output channels of each matrix for which all channel scales and factors are tried."""


@dataclass(frozen=True)
class Cost:
    """One method after one calibration set: bytes, the int4 modules' squared output error, KL by position."""

    method: str
    grid: str
    number: int
    bytes: int
    error: float
    kl: Tensor

    def to_dict(self) -> dict[str, Any]:
        """One row for JSON."""
        return {**vars(self), "kl": float(self.kl.mean())}


@dataclass(frozen=True)
class Model:
    """What all rows share: the folded model, the pictures to measure on and the original's answers."""

    source: Pretrained
    folded: FoldedModel
    held_out: Sequence[Sample]
    truth: Sequence[Tensor]

    @classmethod
    def opened(cls, name: str | None, held_out: int) -> Model:
        source = Pretrained.open(name)
        model = FoldedModel.of(source.config, source.checkpoint, Fold.parse("exact"), source.first_id)
        samples = drawn_set(source, held_out, split="validation").samples
        return cls(source, model, samples, logits(model, samples))

    def layers(self) -> list[str]:
        """The modules that are int4."""
        return [name for name in self.folded.module_shapes() if name.startswith("text_decoder.layers.")]

    def cost(self, method: str, grid: ScaleGrid, number: int, quantization: Quantization) -> Cost:
        """What a quantisation costs."""
        error = sum(row.after**2 for row in quantization.rows if row.name in self.layers())
        kl = divergence(self.truth, logits(quantization.apply(self.folded), self.held_out))
        return Cost(method, str(grid), number, quantization.bytes, error, kl)


def plain(model: Model, method: str, number: int) -> Iterator[Cost]:
    """The preset int4 on both grids, for one calibration set."""
    samples = drawn_set(model.source, SAMPLES, first=number * SAMPLES).samples
    for grid in ScaleGrid:
        recipe = PRESETS["int4"].on_grid(grid)
        quantization = quantize_layerwise(model.folded, recipe, METHODS[method], samples)
        yield model.cost(method, grid, number, quantization)


def mixed_precisions(model: Model, number: int) -> Iterator[Cost]:
    """``mixed`` with GPTQ under the same budget of bytes on both grids."""
    samples = drawn_set(model.source, SAMPLES, first=number * SAMPLES).samples
    base = replace(Recipe("mixed"), float_type=FP16)
    rest = mixed.other_bytes(model.folded, PRESETS["int4"])
    limit = int(MIXED_SIZE * mixed.weight_bytes(model.folded, PRESETS["int4"]))
    for grid in ScaleGrid:
        precisions = mixed.integer_precisions(model.folded, base, grid)
        integers = integers_by_precision(model.folded, METHODS["gptq"], samples, precisions)
        options = shares(model.folded, samples[:SENSITIVITY_SAMPLES], integers)
        recipe = recipe_of(under_bytes(options, limit, rest), FP16)
        quantization = quantize_layerwise(model.folded, recipe, METHODS["gptq"], samples)
        yield model.cost("mixed, gptq", grid, number, quantization)


def channel_bits(model: Model) -> dict[str, float]:
    """Squared error of the weights against the free grid's, by the significant bits of a channel's scale."""
    ratios: dict[str, list[float]] = {}
    for name in model.layers():
        weight = model.folded.matrix(name)[:ROWS].float()
        free, products = (quantize_weight(weight, 4, 32, scales=grid).dequantize() for grid in ScaleGrid)
        unit = float((free - weight).square().sum())
        row = {"the search": float((products - weight).square().sum())}
        row |= {f"{bits} bits": least_error(weight, bits) for bits in (4, 5)}
        row["8 bits, products of any length"] = least_error(weight, 8, exact=False)
        for what, error in row.items():
            ratios.setdefault(what, []).append(error / unit)
    return {what: mean(own) for what, own in ratios.items()}


def least_error(weight: Tensor, bits: int, *, exact: bool = True) -> float:
    """Over the channel scales of so many significant bits within an octave, and every factor of each block.

    ``exact`` leaves out the factors whose product bfloat16 or float16 would round.
    """
    (low, high), octave = RANGES[4], 1 << (bits - 1)
    blocks = weight.unflatten(1, (-1, 32))  # [out, n, 32]
    top = blocks.abs().amax(dim=(1, 2)) / high
    exponent = torch.floor(torch.log2(top))
    best = torch.full_like(top, torch.inf)
    for step in range(-octave // 2, octave // 2 + 1, max(1, octave // 16)):
        code = torch.round(top / 2**exponent * octave) + step  # of octave..2 octave
        channel = code / octave * 2**exponent / 16  # [out]
        errors = torch.empty(16, *blocks.shape[:2])
        for factor in range(1, 17):
            scale = channel * factor
            codes = (blocks / scale.view(-1, 1, 1)).round_().clamp_(low, high)
            errors[factor - 1] = (codes * scale.view(-1, 1, 1) - blocks).square_().sum(-1)
            if exact:
                errors[factor - 1, round_scale(scale) != scale] = torch.inf
        least = errors.amin(0)
        best = torch.minimum(best, least.sum(1) + (errors[15] - least).amin(1))
    return float(best.sum())


def table(costs: Sequence[Cost]) -> str:
    """As Markdown: LPBQ over free, by the mean over the calibration sets and twice its standard error."""
    head = ["method", "bytes, free", "LPBQ", "output error", "KL, by position", "mean KL, free", "LPBQ"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for method in dict.fromkeys(cost.method for cost in costs):
        free, lpbq = ([c for c in costs if (c.method, c.grid) == (method, grid)] for grid in ScaleGrid)
        pairs = list(zip(free, lpbq, strict=True))
        cells = [
            method,
            *(f"{mean(c.bytes for c in own):,.0f}" for own in (free, lpbq)),
            spread([b.error / a.error for a, b in pairs]),
            spread([by_position(a.kl, b.kl) for a, b in pairs]),
            *(spread([float(c.kl.mean()) * 1e4 for c in own]) for own in (free, lpbq)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_position(free: Tensor, lpbq: Tensor) -> float:
    """The geometric mean over positions of the divergences' ratio, of those above rounding."""
    counted = (free > NOISE) & (lpbq > NOISE)
    return float((lpbq[counted] / free[counted]).log().mean().exp())


def spread(values: Sequence[float]) -> str:
    """The mean and twice its standard error."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ± {2 * stdev(values) / len(values) ** 0.5:.3f}"


def main(
    model: Annotated[str | None, typer.Option(help="A checkpoint. Default: Phantom-Nano.")] = None,
    sets: Annotated[int, typer.Option(min=1, help="Calibration sets of 48 scenes.")] = 12,
    mixed_sets: Annotated[int, typer.Option(min=0, help="Of them, how many for mixed.")] = 4,
    held_out: Annotated[int, typer.Option(min=48, help="Pictures to measure on.")] = 128,
    out: Annotated[Path | None, typer.Option("--json", help="Keep the numbers here.")] = None,
) -> None:
    """Both grids side by side."""
    opened = Model.opened(model, held_out)
    costs: list[Cost] = []

    def take(rows: Iterator[Cost]) -> None:
        for cost in rows:
            costs.append(cost)
            typer.echo(json.dumps(cost.to_dict()), err=True)

    take(plain(opened, "rtn", 0))
    for number in range(sets):
        take(plain(opened, "gptq", number))
        if number < mixed_sets:
            take(mixed_precisions(opened, number))
    bits = channel_bits(opened)
    typer.echo(f"{describe()}\n\nKL in 1e-4 nats.\n\n{table(costs)}\n\n{bits_table(bits)}")
    if out is not None:
        document = {"machine": describe(), "costs": [c.to_dict() for c in costs], "channel_bits": bits}
        out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def bits_table(bits: Mapping[str, float]) -> str:
    """As Markdown."""
    rows = [f"| {what} | {ratio:.4f} |" for what, ratio in bits.items()]
    return "\n".join(
        ["| channel's scale | squared error of the weights over the free grid's |", "|---|--:|", *rows]
    )


if __name__ == "__main__":
    typer.run(main)
