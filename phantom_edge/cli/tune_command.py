"""`phantom-edge tune`: Phantom Optimization on a checkpoint of one's own."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import MAX_SEED, Json, Model, Revision, within
from phantom_edge.cli.printing import echo, echo_json, say
from phantom_edge.system import interrupts

if TYPE_CHECKING:
    from phantom_edge.training.progress import TrainingProgress
    from phantom_edge.tune.trainer import TuneResult

MAX_STEPS = 10_000_000
REFRESH = 0.1  # seconds between two lines shown


@app.command(
    epilog="Examples: phantom-edge tune --data triples.jsonl --images pictures -m BK-Lee/Phantom-0.5B "
    "-o tuned --lora 16  |  phantom-edge export -m tuned --target ios  |  "
    "phantom-edge tune --recover nano.safetensors -o recovered.safetensors"
)
@command
def tune(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; with --recover a file.")],
    data: Annotated[Path | None, typer.Option(help="JSON lines: image, question, answer, wrong.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures that the lines name.")] = None,
    model: Model = None,
    revision: Revision = None,
    epochs: Annotated[int, within(1, 10_000, "Passes over the data in each step.")] = 1,
    steps_1: Annotated[
        int | None, within(0, MAX_STEPS, "Optimiser steps of step 1; 0 leaves it out.")
    ] = None,
    steps_2: Annotated[
        int | None, within(0, MAX_STEPS, "Optimiser steps of step 2; 0 leaves it out.")
    ] = None,
    lr: Annotated[float, within(1e-12, 10, "Learning rate, down to a tenth of it on a cosine.")] = 1e-5,
    batch: Annotated[int, within(1, 1_000_000, "Lines per optimiser step.")] = 128,
    micro_batch: Annotated[int, within(1, 4096, "Lines at a time: changes memory, not the loss.")] = 4,
    lora: Annotated[int | None, within(1, 1024, "Rank of adapters for decoder and ViT in step 2.")] = None,
    sft_only: Annotated[bool, typer.Option("--sft-only", help="Step 1 without its preference term.")] = False,
    beta: Annotated[float, within(1e-9, 1e3, "Of the preference term.")] = 2.0,
    gamma: Annotated[float, within(0, 1e3, "Margin of the preference term.")] = 0.5,
    max_tiles: Annotated[int | None, within(1, 64, "Most tiles a picture is cut into.")] = None,
    validation: Annotated[int, within(0, 1_000_000, "Lines to hold out, at least, and to measure on.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 for the matrix products.")] = "fp32",
    recompute: Annotated[bool, typer.Option(help="Keep one layer at a time: slower, less memory.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    seed: Annotated[int, within(0, MAX_SEED, "Of the order, the lines held out and the adapters.")] = 0,
    save_every: Annotated[float, within(0, 1e6, "Seconds between two states on disk.")] = 30.0,
    recover: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Train scales and vectors of a file that `quantize` wrote."),
    ] = None,
    recover_steps: Annotated[int, within(1, MAX_STEPS, "--recover: optimiser steps of four pictures.")] = 100,
    objective: Annotated[
        str, typer.Option(help="--recover: distil (the original's tokens), or phantom (away from the wrong).")
    ] = "distil",
    calibrate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="--recover: pictures as for `quantize`; else drawn.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tune a checkpoint with Phantom Optimization. A run that was stopped goes on when it is repeated.

    With --recover: win back what quantisation cost, integers untouched; the result is for `export --quant`.
    """
    if recover is not None:
        _recover(recover, output, model, revision, calibrate, recover_steps, objective, seed, as_json)
        return
    from phantom_edge.errors import InputError
    from phantom_edge.tune.options import TuneOptions

    if data is None:
        raise InputError("tune needs --data, questions and answers; or --recover, a quantisation's file")
    options = TuneOptions(
        steps_1=steps_1,
        steps_2=steps_2,
        epochs=epochs,
        lr=lr,
        batch=batch,
        micro_batch=micro_batch,
        seed=seed,
        sft_only=sft_only,
        beta=beta,
        gamma=gamma,
        lora=lora,
        max_tiles=max_tiles,
        precision=precision,
        recompute=recompute,
        validation=validation,
        device=device,
        save_every=save_every,
    )
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.training.triples import read_triples
    from phantom_edge.tune.trainer import tune as run_tune

    try:
        with progress(quiet=as_json) as p:
            p.step("reading")
            triples = read_triples(data, images)
            source = Pretrained.open(model, revision=revision, step=p.step)
            result = run_tune(source, triples, options, output, _shown(p.step))
    except KeyboardInterrupt as stopped:
        text = "error: stopped; the same command goes on from the last state, if there is one"
        say(text, colour="red")
        raise typer.Exit(128 + getattr(stopped, "number", signal.SIGINT)) from None
    if as_json:
        echo_json(_summary(result))
        return
    _print(result)


def _recover(
    file: Path,
    output: Path,
    model: str | None,
    revision: str | None,
    calibrate: Path | None,
    steps: int,
    objective: str,
    seed: int,
    as_json: bool,
) -> None:
    from phantom_edge.quantize.recovery import RecoverOptions, recover_file

    options = RecoverOptions(steps=steps, objective=objective, seed=seed)
    with progress(quiet=as_json) as p:
        quantization = recover_file(
            file, output, model=model, revision=revision, calibrate=calibrate, options=options, step=p.step
        )
    recovery = quantization.facts["recovery"]
    if as_json:
        echo_json({"output": str(output), **recovery})
        return
    for name in ("before", "after"):
        q = recovery[name]
        echo(f"{name}: mean KL {q['kl']:.3g} nats, top-1 agreement {100 * q['agreement']:.2f} %")
    if not recovery["kept"]:
        echo("training did not help on the pictures held out: the scales stay as they were")
    echo(f"wrote {output}")


def _shown(step: Callable[[str], None]) -> Callable[[TrainingProgress], None]:
    """Shows a few lines a second, however many there are."""
    last = 0.0

    def report(event: TrainingProgress) -> None:
        nonlocal last
        interrupts.check()
        if event.done == event.of or time.monotonic() - last > REFRESH:
            last = time.monotonic()
            step(str(event))

    return report


def _summary(result: TuneResult) -> dict[str, Any]:
    """What ``training.json`` says, with the first and the last point of each step's curve only."""
    rest = {name: value for name, value in result.training.items() if name != "curve"}
    return {"output": str(result.output), **rest, "curve": _ends(result)}


def _ends(result: TuneResult) -> list[dict[str, Any]]:
    stages: dict[int, list[dict[str, Any]]] = {}
    for point in result.training["curve"]:
        stages.setdefault(point["stage"], []).append(point)
    return [point for points in stages.values() for point in (points[:1] + points[1:][-1:])]


def _print(result: TuneResult) -> None:
    from phantom_edge.training.progress import loss_words

    for point in _ends(result):
        terms = {name: value for name, value in point.items() if name not in ("stage", "step", "lr")}
        echo(f"step {point['stage']}, {point['step']}: {', '.join(loss_words(terms))}")
    for name, losses in result.validation.items():
        echo(f"validation, {name}: {', '.join(loss_words(losses))}")
    echo(f"wrote {result.output}")
