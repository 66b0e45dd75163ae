"""``phantom-edge quantize``: integers once, for every export to take, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.commands import Html, Json, Model
from phantom_edge.cli.console import command, progress, show, write_page


@app.command(
    epilog="Examples: phantom-edge quantize -o nano.safetensors  |  "
    "phantom-edge quantize -m BK-Lee/Phantom-0.5B --calibrate pictures --budget-kl 0.01 -o q.safetensors "
    "--html q.html"
    "  |  phantom-edge export -m BK-Lee/Phantom-0.5B -t ios --quant q.safetensors"
)
@command
def quantize(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File ending in .safetensors, for export --quant.")
    ] = None,
    model: Model = None,
    quant: Annotated[
        str, typer.Option(help="mixed (a precision per module), int4, int8 or a TOML recipe.")
    ] = "mixed",
    rule: Annotated[
        list[str] | None, typer.Option(help="Override, PATTERN=PRECISION; may be repeated.")
    ] = None,
    method: Annotated[str, typer.Option(help="rtn, hqq, awq, gptq or gptq-awq.")] = "gptq",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of pictures, with a .jsonl of questions and answers as `tune` reads it if there "
            "is one. "
            "Default: drawn scenes.",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Pictures to calibrate with. Default: 48, large models 16.")
    ] = None,
    budget_mb: Annotated[
        float | None, typer.Option(help="mixed: most megabytes of weights. Default: 1.1 times those of int4.")
    ] = None,
    budget_kl: Annotated[
        float | None, typer.Option(help="mixed: most KL divergence from the original, in nats per token.")
    ] = None,
    fold: Annotated[
        str, typer.Option(help="exact, auto (smallest certified rank per layer), or rank:R.")
    ] = "exact",
    kv_cache: Annotated[bool, typer.Option(help="Also find scales for an int8 KV cache.")] = True,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also try onnxruntime's and torchao's quantisers on the same weights."
        ),
    ] = False,
    accuracy: Annotated[
        int, typer.Option(metavar="N", min=0, help="Also ask N questions per scene task, before and after.")
    ] = 0,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the Hugging Face hub.")
    ] = None,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Find integers that keep the answers, for all formats at once, and measure what they cost.

    Weights are rounded for the inputs they meet (GPTQ), each module in the precision that it needs.
    """
    from phantom_edge.evaluate.result import check_file
    from phantom_edge.pipeline.quantize import QuantizeRequest
    from phantom_edge.pipeline.quantize import quantize as run_quantize
    from phantom_edge.quantize.options import QuantizeOptions

    if html is not None:
        check_file(html)
    options = QuantizeOptions(
        quant, tuple(rule or ()), method, calibrate, samples, budget_mb, budget_kl, kv_cache=kv_cache
    )
    request = QuantizeRequest(model, revision, options, fold, output, compare, accuracy)
    with progress(quiet=as_json) as p:
        result = run_quantize(request, step=p.step, track=p.track)
    if as_json:
        if html is not None:
            write_page(result.report, html)
        typer.echo(
            json.dumps({"output": None if output is None else str(output), **result.to_dict()}, indent=2)
        )
        return
    show(result.report, as_json=False, html=html)
    if output is not None:
        typer.echo(f"wrote {output}")
