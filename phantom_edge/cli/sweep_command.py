"""``phantom-edge sweep``: which recipe for this device?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli import options as option
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.printing import echo, echo_json, print_report

VALUES = "V,…"


@app.command(
    epilog="Examples: phantom-edge sweep --targets desktop,android --quant int4,int8 --fold exact,auto  |  "
    "phantom-edge sweep -m BK-Lee/Phantom-0.5B --targets android --quant int4,int8,mixed --device galaxy-s25 "
    "--max-mb 700 --within 1 -o phone  |  "
    "phantom-edge sweep --quant int4,int8 --address 10.0.0.5:6379 -o cluster"
)
@command
def sweep(
    targets: Annotated[str, typer.Option(metavar=VALUES, help="Targets, as for export.")] = "desktop",
    quant: Annotated[
        str | None,
        typer.Option(metavar=VALUES, help="Recipes, as for export; default leaves the option out."),
    ] = None,
    fold: Annotated[str | None, typer.Option(metavar=VALUES, help="Folds, as for export.")] = None,
    vocab: Annotated[
        str | None,
        typer.Option(
            metavar=VALUES, help="Presets, files and folders of text, as for export; en+texts is both."
        ),
    ] = None,
    tile_size: Annotated[
        str | None, typer.Option(metavar=VALUES, help="Sides of tiles in pixels, each by itself.")
    ] = None,
    model: option.Model = None,
    revision: option.Revision = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of results; a sweep's own goes on. Default: MODEL-sweep."
        ),
    ] = None,
    context: option.Context = None,
    tasks: Annotated[str | None, typer.Option(help="Scene tasks to ask, as for eval. Default: all.")] = None,
    samples: Annotated[int, option.within(1, 1_000_000, "Questions per task.")] = 50,
    bench: Annotated[bool, typer.Option(help="Time each one, alone, on the machine that made it.")] = True,
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="Compare seconds predicted for it; see `estimate --list`."),
    ] = None,
    within: Annotated[
        float | None,
        option.within(
            0,
            100,
            "Percentage points that the winner may lose. Default: what is not significant.",
            metavar="POINTS",
        ),
    ] = None,
    max_mb: Annotated[float | None, option.within(1e-3, 1e9, "Most megabytes of the winner.")] = None,
    prefer: Annotated[str, typer.Option(help="The winner is the best in size, or in speed.")] = "size",
    keep: Annotated[
        str | None, typer.Option(help="winner or front: put these bundles into the folder, too.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Head of a Ray cluster. Default: this machine.")
    ] = None,
    cpus: Annotated[int, option.within(1, option.MAX_THREADS, "Cores that one export declares.")] = 1,
    memory_gb: Annotated[
        float | None, option.within(0.1, 1e5, "Memory that one declares. Default: from the model's size.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Work through more than 64 combinations.")] = False,
    as_json: option.Json = False,
) -> None:
    """Export, verify, ask and time combinations of options on Ray, and show which is best.

    The Pareto front of size, answers, KL and seconds as a table, and as a page in the folder. Ends with the
    winner's command line; with exit code 1 when a combination failed, which does not end the others.
    """
    from phantom_edge.sweep.axes import parse_values
    from phantom_edge.sweep.job import PAGE
    from phantom_edge.sweep.job import sweep as run_sweep
    from phantom_edge.sweep.request import SweepRequest

    request = SweepRequest(
        model=model,
        revision=revision,
        targets=parse_values("--targets", targets),
        quant=() if quant is None else parse_values("--quant", quant),
        fold=() if fold is None else parse_values("--fold", fold),
        vocab=() if vocab is None else parse_values("--vocab", vocab),
        tile_size=() if tile_size is None else parse_values("--tile-size", tile_size),
        context=context,
        output=output,
        tasks=() if tasks is None else parse_values("--tasks", tasks),
        samples=samples,
        bench=bench,
        device=device,
        within=within,
        max_mb=max_mb,
        prefer=prefer,
        keep=keep,
        address=address,
        cpus=cpus,
        memory_gb=memory_gb,
        many=yes,
    )
    with progress(quiet=as_json) as p:
        result = run_sweep(request, step=p.step)
    if as_json:
        echo_json(result.to_json())
    else:
        print_report(result.report())
        echo(f"wrote {result.folder / PAGE}")
        if result.winner is not None:
            echo(result.winner.command)
    if not result.ok:
        raise typer.Exit(1)
