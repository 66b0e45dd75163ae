"""``phantom-edge quantize``: integers once, for every export to take, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli import options as option
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.ending import after_quantize
from phantom_edge.cli.printing import check_page, deliver, echo, echo_json, print_report


@app.command(
    epilog="Examples: phantom-edge quantize -o nano.safetensors  |  "
    "phantom-edge quantize -m BK-Lee/Phantom-0.5B --calibrate pictures --budget-kl 0.01 -o q.safetensors "
    "--html q.html"
    "  |  phantom-edge export -m BK-Lee/Phantom-0.5B -t ios --quant q.safetensors"
)
@command
def quantize(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File ending in .safetensors, for `export --quant`.")
    ] = None,
    model: option.Model = None,
    quant: Annotated[
        str, typer.Option(help="mixed (a precision per module), int4, int8 or a TOML recipe.")
    ] = "mixed",
    rule: option.Rule = None,
    method: option.Method = "gptq",
    calibrate: option.Calibrate = None,
    samples: option.Samples = None,
    budget_mb: option.BudgetMb = None,
    budget_kl: option.BudgetKl = None,
    scales: option.Scales = None,
    fold: option.Fold = "exact",
    kv_cache: Annotated[bool, typer.Option(help="Also find scales for an int8 KV cache.")] = True,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also try onnxruntime's and torchao's quantisers on these weights."),
    ] = False,
    accuracy: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=1_000_000, help="Also ask N questions per scene task, before and after."
        ),
    ] = 0,
    revision: option.Revision = None,
    as_json: option.Json = False,
    html: option.Html = None,
) -> None:
    """Find integers that keep the answers, for all formats at once, and measure what they cost.

    Weights are rounded for the inputs they meet (GPTQ), each module in the precision that it needs.
    """
    from phantom_edge.pipeline.quantize import QuantizeRequest
    from phantom_edge.pipeline.quantize import quantize as run_quantize
    from phantom_edge.quantize.options import QuantizeOptions
    from phantom_edge.system.outputs import check_distinct

    check_distinct([output, html])
    check_page(html)
    budgets, rules = (budget_mb, budget_kl), tuple(rule or ())
    options = QuantizeOptions(
        quant, rules, method, calibrate, samples, *budgets, kv_cache=kv_cache, scales=scales
    )
    pictures = html is not None
    request = QuantizeRequest(model, revision, options, fold, output, compare, accuracy, pictures)
    with progress(quiet=as_json) as p:
        result = run_quantize(request, step=p.step, track=p.track)

    def tables() -> None:
        if as_json:
            echo_json({"output": None if output is None else str(output), **result.to_dict()})
            return
        print_report(result.report)
        if output is not None:
            echo(f"wrote {output}")
        after_quantize(model, output)

    deliver(tables, (result.report, html))
    if not result.report.ok:
        raise typer.Exit(1)
