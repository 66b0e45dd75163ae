"""``bench`` and ``estimate``: what a model costs on a device, measured or predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import MAX_SIDE, MAX_THREADS, Context, Html, Json, Model, within
from phantom_edge.cli.printing import check_page, deliver, echo_json, print_report, show

if TYPE_CHECKING:
    from phantom_edge.bench.report import Results

DEPTHS = "0,512,1024,1920"


@app.command(
    epilog="Examples: phantom-edge bench nano-desktop --html bench.html  |  "
    "phantom-edge bench nano-web --device browser  |  "
    "phantom-edge bench nano-android --device adb --soak 10 --json > phone.json  |  "
    "phantom-edge bench nano-android --device adb --npu nano-snapdragon  |  "
    "phantom-edge bench --compare before.json after.json"
)
@command
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Bundles, or local checkpoints. Default: Phantom-Nano. With --compare: reports."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show reports side by side; nothing is measured.")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", "-d", help="local, browser, adb[:SERIAL] or ios[:UDID].")
    ] = "local",
    soak: Annotated[
        float,
        typer.Option(
            min=0, max=1440, metavar="MINUTES", help="Then generate for so long and plot the speed."
        ),
    ] = 0.0,
    depths: Annotated[str, typer.Option(help="Cached tokens at which decoding is timed.")] = DEPTHS,
    processes: Annotated[int, within(1, 100, "Fresh processes (browser: fresh pages) per model.")] = 3,
    repeats: Annotated[int, within(1, 1000, "Prompts per process.")] = 5,
    warmup: Annotated[int, within(0, 100, "Prompts per process before the clock counts.")] = 1,
    steps: Annotated[int, within(1, 10_000, "Generated tokens per depth and process.")] = 32,
    threads: Annotated[int | None, within(1, MAX_THREADS, "Of the runtime. Default: its own choice.")] = None,
    image: Annotated[str | None, typer.Option(help="local: another picture than the golden one.")] = None,
    tile_size: Annotated[
        int | None, within(1, MAX_SIDE, "local: side of its tiles, one that the bundle has.")
    ] = None,
    browser: Annotated[Path | None, typer.Option(help="browser: path of a Chromium or Chrome.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="browser: wasm or webgpu. Default: what it has.")
    ] = None,
    runner: Annotated[
        Path | None, typer.Option(help="adb: an ExecuTorch runner built for the phone.")
    ] = None,
    app_id: Annotated[
        str | None, typer.Option("--app", help="adb, ios: the benchmark app's package or bundle id.")
    ] = None,
    npu: Annotated[
        Path | None, typer.Option(help="adb: run the same model's bundle for snapdragon on the phone's NPU.")
    ] = None,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Measure a model on a device: first token, decoding by cache depth, load, memory, drift, energy."""
    from phantom_edge.bench.devices import Options
    from phantom_edge.bench.devices import bench as run_bench
    from phantom_edge.bench.report import compare as run_compare
    from phantom_edge.bench.settings import Settings, parse_depths

    check_page(html)
    if compare:
        _show(run_compare(models or []), as_json, html)
        return
    settings = Settings(processes, repeats, warmup, steps, parse_depths(depths), threads, soak)
    providers = tuple(provider or ())
    options = Options(
        image=image,
        tile_size=tile_size,
        browser=browser,
        providers=providers,
        runner=runner,
        app=app_id,
        npu=npu,
    )
    with progress(quiet=as_json) as p:
        p.step("opening")
        results = run_bench(models or [None], device, settings, options, step=p.step)
    _show(results, as_json, html)


@app.command(
    epilog="Examples: phantom-edge estimate --device iphone-16-pro  |  "
    "phantom-edge estimate -d galaxy-s25 -d pixel-8 -m BK-Lee/Phantom-1.8B --quant int4  |  "
    "phantom-edge estimate -d local --bundle nano-desktop  |  phantom-edge estimate --list"
)
@command
def estimate(
    device: Annotated[
        list[str] | None, typer.Option("--device", "-d", help="local or a device of --list; may be repeated.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle that exists.")] = None,
    model: Model = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="As for export. Default: the device's.")
    ] = None,
    quant: Annotated[str | None, typer.Option(help="As for export.")] = None,
    fold: Annotated[str, typer.Option(help="exact or rank:R.")] = "exact",
    context: Context = None,
    depths: Annotated[str, typer.Option(help="Cached tokens at which decoding is predicted.")] = DEPTHS,
    tiles: Annotated[int, within(1, 64, "Tiles of the picture.")] = 1,
    threads: Annotated[int | None, within(1, MAX_THREADS, "local: of the runtime.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the devices with their figures and sources.")
    ] = False,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Predict, with a band, what bench would measure: from bytes, operations and a device's figures."""
    from phantom_edge.bench.estimate.hardware import table
    from phantom_edge.bench.estimate.predict import estimates
    from phantom_edge.bench.settings import parse_depths

    check_page(html)
    if listed:
        show(table(), as_json=as_json, html=html)
        return
    options = {"target": target, "quant": quant, "fold": fold, "context": context}
    with progress(quiet=as_json) as p:
        p.step("reading")
        results = estimates(
            device or [],
            bundle=bundle,
            model=model,
            options=options,
            depths=parse_depths(depths),
            tiles=tiles,
            threads=threads,
            step=p.step,
        )
    _show(results, as_json, html)


def _show(results: Results, as_json: bool, html: str | None) -> None:
    """Print as tables or JSON, and write the page: one that fails takes no measurement with it."""

    def tables() -> None:
        if as_json:
            echo_json(results.to_json())
        else:
            print_report(results.report())

    deliver(tables, (results, html))
