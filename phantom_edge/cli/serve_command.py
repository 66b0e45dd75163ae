"""``phantom-edge serve``: OpenAI's API on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import within
from phantom_edge.cli.printing import echo, say

PORT = 8000


@app.command(
    epilog="Examples: phantom-edge serve  |  phantom-edge serve -m nano-desktop -m big=BK-Lee/Phantom-0.5B "
    "--memory 4000  |  phantom-edge serve --host 0.0.0.0 --api-key-file key.txt"
)
@command
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]MODEL",
            help="A bundle, or a checkpoint (folder or id), under its last name or NAME; may be repeated. "
            "Default: Phantom-Nano.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other devices in.")
    ] = "127.0.0.1",
    port: Annotated[int, within(0, 65535, "Port; 0 takes a free one.")] = PORT,
    certificate: Annotated[Path | None, typer.Option("--cert", help="PEM certificate for https.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="PEM key of the certificate, where it is apart.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which it may be addressed; may be repeated.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PHANTOM_EDGE_API_KEY",
            help="Answer only who sends this key. The variable and --api-key-file keep it out of the list of "
            "processes.",
        ),
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the key.")] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Let pages of this origin ask, * of any; may be repeated."),
    ] = None,
    queue: Annotated[
        int, within(0, 10_000, "Requests that may wait for a model; more are answered 429.")
    ] = 64,
    timeout: Annotated[float, within(1, 86_400, "Seconds of a request, its wait included.")] = 300.0,
    grace: Annotated[int, within(0, 3600, "Seconds for answers under way when it is stopped.")] = 30,
    max_body: Annotated[int, within(1, 1024, "Megabytes of a request.")] = 20,
    memory: Annotated[
        int | None,
        within(
            1,
            1 << 24,
            "Megabytes of all models together: the oldest is given back. Default: three quarters of the "
            "machine's.",
        ),
    ] = None,
    cache: Annotated[
        int, within(0, 1 << 20, "Megabytes of what each model keeps of pictures that it has seen.")
    ] = 256,
    cache_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep it in this folder too. It may be removed.")
    ] = None,
    cache_disk: Annotated[int, within(0, 1 << 24, "Megabytes of that folder.")] = 4096,
    allow_url: Annotated[
        bool, typer.Option("--allow-url", help="Fetch pictures by http and https, from public addresses.")
    ] = False,
    allow_private_url: Annotated[
        bool, typer.Option("--allow-private-url", help="Fetch them from private addresses too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Serve OpenAI's API: chat completions about pictures, until Ctrl-C."""
    from phantom_edge.serve import options as settings
    from phantom_edge.serve.models import models
    from phantom_edge.serve.server import serving
    from phantom_edge.system.resident import physical

    with progress(quiet=as_json) as p:
        p.step("looking at the models")
        bound = (physical() or 0) * 3 // 4 if memory is None else memory << 20
        options = settings.ServeOptions(
            models(model or [], p.step),
            queue=queue,
            memory=bound or None,
            timeout=timeout,
            grace=grace,
            max_body=max_body << 20,
            api_key=settings.api_key(api_key, api_key_file),
            allow_url=allow_url,
            allow_private_url=allow_private_url,
            cors=tuple(cors or ()),
            cache=cache << 20,
            cache_folder=cache_dir,
            cache_disk=cache_disk << 20,
        )
    try:
        with serving(
            options, host=host, port=port, certificate=certificate, key=key, names=allow_host or ()
        ) as server:
            if options.api_key is None and not settings.is_local(host):
                say("warning: whoever reaches this machine may ask; --api-key-file lets in who knows a key")
            if as_json:
                echo(json.dumps({"address": server.address}))  # one line: who reads it waits for its end
            else:
                echo(f"{server.address}v1  (Ctrl-C ends it; try: curl {server.address}v1/models)")
            server.run()
    except KeyboardInterrupt:
        return  # the way to end it, and no error
