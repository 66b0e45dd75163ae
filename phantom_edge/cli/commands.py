"""The commands. Each parses, calls one function of the API, and prints what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli import options as option
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.ending import after_export, after_run, before_run, next_step
from phantom_edge.cli.printing import check_page, deliver, echo, echo_json, print_report, say, show
from phantom_edge.errors import InputError


@app.command(
    epilog="Examples: phantom-edge export --target ios  |  "
    "phantom-edge export -m BK-Lee/Phantom-0.5B -t android --quant int8 --rule "
    "'text_decoder.layers.0.*=fp16' -o out"
)
@command
def export(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="ios, android, snapdragon, web, webgpu, desktop or linux-arm64; see `targets`.",
        ),
    ] = "ios",
    model: option.Model = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Bundle folder. Default: MODEL-TARGET.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="coreml, executorch, onnx or coreai instead of the target's own.")
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, int8, int4, mixed, a TOML recipe or a file that `quantize` wrote."),
    ] = None,
    rule: option.Rule = None,
    method: option.Method = None,
    calibrate: option.Calibrate = None,
    samples: option.Samples = None,
    budget_mb: option.BudgetMb = None,
    budget_kl: option.BudgetKl = None,
    scales: option.Scales = None,
    kv_cache: Annotated[
        str, typer.Option(help="float, or int8 where the runtime takes it: desktop, snapdragon.")
    ] = "float",
    fold: option.Fold = "exact",
    context: option.Context = None,
    max_tiles: Annotated[int | None, option.within(1, 64, "Most tiles that a picture is cut into.")] = None,
    tile_size: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS,…",
            help="Side of a tile; several are several vision encoders over one set of weights, the first the "
            "default.",
        ),
    ] = None,
    npu: Annotated[
        str | None, typer.Option(help="snapdragon: vision (the decoder on the CPU), or all. Default: vision.")
    ] = None,
    activations: Annotated[
        str | None, typer.Option(help="snapdragon: uint16 with calibrated ranges, or fp16. Default: uint16.")
    ] = None,
    soc: Annotated[
        str | None,
        typer.Option(
            metavar="CHIP,…", help="snapdragon: also compile for these chips, such as sm8650,sm8750,sm8850."
        ),
    ] = None,
    vocab: option.Vocab = None,
    vocab_size: option.VocabSize = None,
    revision: option.Revision = None,
    verify: Annotated[bool, typer.Option(help="Run and check the artifact before it appears.")] = True,
    push: Annotated[
        str | None,
        typer.Option(metavar="USER/NAME", help="Then publish it on the Hugging Face hub, as `push` does."),
    ] = None,
    private: option.Private = False,
    as_json: option.Json = False,
) -> None:
    """Export a checkpoint to a verified bundle: load, fold, quantise, write, run, compare."""
    from phantom_edge.pipeline.export import ExportRequest
    from phantom_edge.pipeline.export import export as run_export
    from phantom_edge.pipeline.npu import NpuOptions
    from phantom_edge.pipeline.tiles import parse_tile_sizes
    from phantom_edge.publish.push import PushOptions, check_push
    from phantom_edge.publish.push import push as run_push
    from phantom_edge.quantize.options import QuantizeOptions
    from phantom_edge.records import to_json
    from phantom_edge.report.report import megabytes

    request = ExportRequest(
        target=target,
        model=model,
        revision=revision,
        output=output,
        format=format,
        quantize=QuantizeOptions(
            quant, tuple(rule or ()), method, calibrate, samples, budget_mb, budget_kl, scales=scales
        ),
        kv_cache=kv_cache,
        fold=fold,
        context=context,
        max_tiles=max_tiles,
        tile_sizes=parse_tile_sizes(tile_size),
        npu=NpuOptions(npu, activations, (soc,) if soc else ()),
        vocab=tuple(vocab or ()),
        vocab_size=vocab_size,
        verify=verify,
    )
    publish = PushOptions(private=private, unverified=not verify)
    if private and push is None:
        raise InputError("--private is for what is published; name it with --push USER/NAME")
    with progress(quiet=as_json) as p:
        if push is not None:
            check_push(push, publish, step=p.step)  # before an export that takes long
        result = run_export(request, step=p.step, track=p.track)
    if as_json:
        data = {"bundle": str(result.bundle.folder), **to_json(result.bundle.manifest)}
        echo_json(data)
    else:
        if result.report is not None:
            show(result.report, as_json=False)
        echo(f"wrote {result.bundle.folder} ({megabytes(result.bundle.bytes)})")
        after_export(result.bundle.folder, target, verified=result.report is not None)
    if push is not None:
        with progress(quiet=as_json) as p:
            pushed = run_push(result.bundle.folder, push, publish, step=p.step)
        say(f"pushed {pushed.url} (commit {pushed.commit[:12]})")


@app.command(
    epilog="Examples: phantom-edge verify nano-ios --html report.html  |  "
    "phantom-edge verify nano-desktop --machine arm64 --cpu cortex-a72"
)
@command
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle: its folder, or its id on the hub.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The checkpoint it was made from. Default: as recorded."),
    ] = None,
    revision: option.Revision = None,
    image: Annotated[
        Path | None, typer.Option(help="Verify with this picture, not the built-in prompts.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Verify with this question.")] = None,
    tokens: Annotated[
        int | None,
        option.within(1, 4096, "Greedy tokens per prompt. Default: 64; emulated 16, of a large model 4."),
    ] = None,
    all_prompts: Annotated[
        bool, typer.Option("--all-prompts", help="Run every prompt also where a large model is emulated.")
    ] = False,
    machine: Annotated[
        str | None, typer.Option(help="arm64: run an ONNX bundle on an emulated 64-bit Arm processor.")
    ] = None,
    cpu: Annotated[
        str | None,
        typer.Option(help="Its core: cortex-a76 (Raspberry Pi 5; default), cortex-a72, neoverse-n1, …"),
    ] = None,
    as_json: option.Json = False,
    html: option.Html = None,
) -> None:
    """Run a bundle's files and compare them, stage by stage, with the checkpoint they came from."""
    from phantom_edge.bundle.locate import locate_bundle
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.runtime.verify import verify as run_verify

    if model is None and revision is not None:
        raise InputError("--revision goes with a Hugging Face id; give one with --model")
    check_page(html)
    with progress(quiet=as_json) as p:
        p.step("checking the files")
        opened = locate_bundle(bundle, step=p.step)
        source = None if model is None else Pretrained.open(model, revision=revision, step=p.step)
        report = run_verify(
            opened,
            source,
            image=image,
            question=prompt,
            tokens=tokens,
            every_prompt=all_prompts,
            machine=machine,
            cpu=cpu,
            step=p.step,
        )
    show(report, as_json=as_json, html=html)
    if not as_json:
        next_step("eval", "--model", bundle, "--against", model or opened.manifest.source.name)


@app.command(
    epilog="Example: phantom-edge run -m nano-ios --image photo.jpg -p 'What colour is it?' -p 'And how "
    "many?'"
)
@command
def run(
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="Question; repeat for more turns.")],
    model: option.ModelOrBundle = None,
    revision: option.Revision = None,
    image: Annotated[Path | None, typer.Option("--image", "-i", help="Picture to ask about.")] = None,
    at: option.At = None,
    tile_size: option.TileSize = None,
    max_tokens: Annotated[int, option.within(1, option.MAX_TOKENS, "Most tokens per answer.")] = 256,
    temperature: Annotated[float, option.within(0, 100, "0 is greedy.")] = 0.0,
    top_p: Annotated[float, option.within(0, 1, "Nucleus sampling.")] = 1.0,
    seed: Annotated[int | None, option.within(0, option.MAX_SEED, "Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End the answer at this text; repeatable.")] = None,
    cache: option.Cache = None,
    choices: option.Choices = None,
    regex: option.Regex = None,
    schema: option.Schema = None,
    stats: Annotated[bool, typer.Option("--stats", help="Print times and counts to stderr.")] = False,
    as_json: option.Json = False,
) -> None:
    """Ask about a picture: the answer streams as it is generated, from a checkpoint or from a bundle."""
    from phantom_edge.cli.certainty import certainty, check_answered, percent, say_doubt
    from phantom_edge.cli.forms import check_met, chosen_form, likelihoods
    from phantom_edge.cli.pointing import say_seen, seen_part
    from phantom_edge.records import to_json
    from phantom_edge.runtime.pictures import PictureCache
    from phantom_edge.runtime.sampling import Sampling
    from phantom_edge.runtime.session import Session

    sampling, form = Sampling(temperature, top_p, seed), chosen_form(choices, regex, schema)
    picture, crop = seen_part(image, at)
    pictures = None if cache is None else PictureCache(folder=cache)
    with progress(quiet=as_json) as p:
        p.step("loading")
        # One picture is all that it will see, however many questions follow.
        session = Session.open(
            model, revision=revision, tile_size=tile_size, step=p.step, keep_vision=False, pictures=pictures
        )
        chat = session.chat(picture)
    if not as_json:
        before_run(session.knows)
    answers = []
    if stats:
        say_seen(chat, crop)
    for question in prompt:
        ranked, encoding = likelihoods(chat, question, form) if stats or as_json else ([], 0.0)
        limits = {"max_tokens": max_tokens, "stop": tuple(stop or ()), "sampling": sampling}
        pieces = chat.ask(question, form=form, **limits)
        text = ""
        for piece in pieces:
            text += piece
            if not as_json:
                echo(piece, nl=False)
        t = chat.timing
        t.vision += encoding
        sure = certainty(t.confidence, ranked, form)
        shares = {"likelihoods": {one.text: one.probability for one in ranked}} if ranked else {}
        place = {} if crop is None else {"crop": to_json(crop)}
        answers.append({"question": question, "answer": text, **shares, **place, **vars(t)})
        if not as_json:
            echo()
            say_doubt(text, sure)
        if stats:
            rate = (t.new_tokens - 1) / t.decode if t.decode else 0.0
            known = f", picture from {t.picture}" if t.picture else ""
            first = (
                f"first token {t.first_token:.3f} s (vision {t.vision:.3f}, prefill {t.prefill:.3f}{known})"
            )
            rest = f"{t.new_tokens} tokens at {rate:.1f}/s, stopped at {t.stop}"
            rest += "" if sure is None else f", {percent(sure)} sure"
            say(f"prompt {t.prompt_tokens} tokens, {first}, {rest}")
            if ranked:
                say(", ".join(f"{one.text} {100 * one.probability:.1f} %" for one in ranked))
    if as_json:
        echo_json(answers)
    else:
        after_run(model, answers)
    check_met(form, [answer["stop"] for answer in answers])
    check_answered(answers)


@app.command(epilog="Example: phantom-edge inspect -m BK-Lee/Phantom-0.5B --context 2048")
@command
def inspect(
    model: option.ModelOrBundle = None,
    revision: option.Revision = None,
    context: Annotated[
        int | None, option.within(1, option.MAX_TOKENS, "Context length for the memory table, in tokens.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also every file, layer and operation, as --json and --html do.")
    ] = False,
    as_json: option.Json = False,
    html: option.Html = None,
) -> None:
    """Show what a checkpoint or a bundle holds: parameters, sizes, phantom dimension, memory."""
    from phantom_edge.runtime.inspect import inspect as run_inspect

    check_page(html)
    with progress(quiet=as_json) as p:
        p.step("reading")
        report = run_inspect(model, revision=revision, context=context, step=p.step)
    show(report, as_json=as_json, html=html, details=everything)


@app.command(epilog="Example: phantom-edge conform recorded/phantom-0.5b recorded/phantom-7b")
@command
def conform(
    folders: Annotated[list[Path], typer.Argument(help="Checkpoints with recorded outputs (golden.json).")],
    without_phantom: Annotated[
        bool,
        typer.Option(
            "--without-phantom", help="Switch the phantom dimension off: the checks must then fail."
        ),
    ] = False,
    as_json: option.Json = False,
    html: option.Html = None,
) -> None:
    """Compare the original and the fold with recorded outputs of the published implementation."""
    from phantom_edge.runtime.conform import conform as run_conform

    pages = _pages(folders, html)
    for page in pages:
        check_page(page)
    reports = []
    for folder in folders:
        with progress(quiet=as_json) as p:
            p.step(f"computing {folder.name}")
            reports.append(run_conform(folder, phantom=not without_phantom))

    def tables() -> None:
        if as_json:
            echo_json([report.to_dict() for report in reports])
            return
        for report in reports:
            print_report(report)

    deliver(tables, *zip(reports, pages, strict=True))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _pages(folders: list[Path], html: str | None) -> list[str | None]:
    """A page per folder: the one named, or with several folders one that is named after each as well."""
    if html is None or len(folders) == 1:
        return [html] * len(folders)
    path = Path(html)
    return [str(path.with_stem(f"{path.stem}-{folder.resolve().name}")) for folder in folders]


@app.command()
@command
def targets(as_json: option.Json = False) -> None:
    """List the targets and what follows from each."""
    from dataclasses import asdict

    from phantom_edge.targets import targets as all_targets

    table = all_targets()
    if as_json:
        echo_json({name: asdict(target) for name, target in table.items()})
        return
    for t in table.values():
        name = f"{t.name:<11} {t.format:<12} {t.recipe:<5}"
        echo(f"{name} context {t.context}, chunk {t.chunk}   {t.title}")


@app.command()
@command
def doctor(
    load: Annotated[
        bool, typer.Option("--load", help="Also load every library, which takes half a minute.")
    ] = False,
    as_json: option.Json = False,
) -> None:
    """Check what is installed on this machine, what each part is for, and the free memory and disk."""
    from phantom_edge.runtime.doctor import doctor as run_doctor

    show(run_doctor(load=load), as_json=as_json)
