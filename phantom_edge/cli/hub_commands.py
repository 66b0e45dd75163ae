"""``phantom-edge push`` and ``pull``: bundles to the hub and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import Json, Private
from phantom_edge.cli.printing import echo, echo_json, say

Name = Annotated[str, typer.Argument(metavar="USER/NAME", help="Its id on the Hugging Face hub.")]


@app.command(
    epilog="Examples: phantom-edge push nano-web someone/nano-web --private  |  "
    "phantom-edge push nano-ios someone/nano-ios --eval records.jsonl --license apache-2.0"
)
@command
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    name: Name,
    private: Private = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, made if need be. Default: the repository's main one.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Of the source, such as apache-2.0. Default: as its own card says."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--eval", metavar="FILE", help="Records of `eval` on this bundle, for the card."),
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Push a bundle that was not verified; the card says so.")
    ] = False,
    replace_card: Annotated[
        bool, typer.Option("--replace-card", help="Write the card anew also where somebody has edited it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the card, and send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a bundle on the Hugging Face hub, with a model card written from its manifest.

    Every file is checked first. What the hub has already is not sent again, and a push that ended early goes
    on where it was. A token is needed: HF_TOKEN, or `hf auth login`.
    """
    from phantom_edge.bundle.folder import Bundle
    from phantom_edge.publish.push import PushOptions, card_for
    from phantom_edge.publish.push import push as run_push

    options = PushOptions(private, revision, message, licence, evaluation, unverified, replace_card)
    if dry_run:
        options.check(name)
        with progress(quiet=as_json) as p:
            card = card_for(Bundle.open(bundle), name, options, step=p.step)
        echo(card, nl=False)
        return
    with progress(quiet=as_json) as p:
        result = run_push(bundle, name, options, step=p.step)
    if result.kept_card:
        say("warning: the card there was edited, and stays as it is; --replace-card writes it anew")
    if as_json:
        echo_json(vars(result))
    else:
        echo(f"pushed {result.url} (commit {result.commit[:12]})")


@app.command(epilog="Example: phantom-edge pull someone/nano-web --output nano-web --revision v2")
@command
def pull(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the bundle. Default: NAME.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: main.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a bundle from the Hugging Face hub, or bring an earlier version of it up to date.

    Exactly the files of its manifest come, each checked by its SHA-256, and only those that differ from what
    the folder has; it is exchanged in one step.
    """
    from phantom_edge.publish.pull import pull as run_pull
    from phantom_edge.report.report import megabytes

    with progress(quiet=as_json) as p:
        result = run_pull(name, output, revision=revision, step=p.step)
    folder, files = result.bundle.folder, result.bundle.manifest.files
    if as_json:
        echo_json({"bundle": str(folder), "commit": result.commit, "fetched": dict(result.fetched)})
    else:
        size = megabytes(sum(result.fetched.values()))
        echo(f"{folder}: {len(result.fetched)} of {len(files)} files fetched ({size})")
