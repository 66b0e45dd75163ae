"""``phantom-edge app``: the demo apps around a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import within
from phantom_edge.cli.printing import echo, echo_json
from phantom_edge.cli.reaching import show_reach
from phantom_edge.cli.strict import StrictTyper

PORT = 8462
"""Of ``serve`` and ``demo``: the same each time, because a browser remembers permissions by address."""

apps = StrictTyper(
    help="Demo apps around a bundle: the model sees through the camera and labels the world.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(apps, name="app")

Bundle = Annotated[
    Path | None,
    typer.Option("--bundle", "-b", help="The bundle, a folder or an id. Default: Phantom-Nano's."),
]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other devices in.")]
Port = Annotated[int, within(0, 65535, "Port; 0 takes a free one.")]
Certificate = Annotated[
    Path | None, typer.Option("--cert", help="PEM certificate for https: other devices then get a camera.")
]
Key = Annotated[Path | None, typer.Option("--key", help="PEM key of the certificate, where it is apart.")]
Code = Annotated[
    bool, typer.Option("--qr/--no-qr", help="With --host: show the address as a QR code in a terminal.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@apps.command(
    epilog="Example: phantom-edge app web --bundle phantom-nano-web --output nano-app && cd nano-app && "
    "npm ci && npm run dev"
)
@command
def web(
    output: Annotated[Path, typer.Option("--output", "-o", help="New or empty folder for the project.")],
    bundle: Bundle = None,
    name: Annotated[str | None, typer.Option(help="The npm package's name. Default: the folder's.")] = None,
    title: Annotated[str | None, typer.Option(help="What the app is called on the screen.")] = None,
    build: Annotated[bool, typer.Option("--build", help="Also install its libraries and build it.")] = False,
    as_json: Json = False,
) -> None:
    """Write a web project around a bundle.

    Complete, with the bundle inside: camera, question, and the answer pinned in the scene.
    """
    from phantom_edge.apps.build import build_project
    from phantom_edge.apps.demo import nano_bundle
    from phantom_edge.apps.web import check_request, write_web_app

    with progress(quiet=as_json) as p:
        check_request(output, name=name, title=title)
        folder = write_web_app(bundle or nano_bundle(p.step), output, name=name, title=title, step=p.step)
        dist = build_project(folder, step=p.step) if build else None
    if as_json:
        echo_json({"project": str(folder), "built": None if dist is None else str(dist)})
    elif dist is None:
        echo(f"wrote {folder}\nrun it with: cd {folder} && npm ci && npm run dev")
    else:
        echo(f"wrote and built {folder}\nrun it with: phantom-edge app serve {folder}")


@apps.command(epilog="Example: phantom-edge app serve nano-app --port 8080")
@command
def serve(
    folder: Annotated[Path, typer.Argument(help="A built app, or a project that is built.")],
    host: Host = "127.0.0.1",
    port: Port = PORT,
    certificate: Certificate = None,
    key: Key = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open it in the browser.")] = False,
    code: Code = True,
    as_json: Json = False,
) -> None:
    """Serve a built app, until Ctrl-C.

    Static files with the headers that WASM threads need; any other web server does as well.
    """
    from phantom_edge.apps.demo import project_mounts

    mounts = project_mounts(folder)
    _serve(mounts, host, port, certificate, key, browser=browser, code=code, as_json=as_json)


@apps.command(
    epilog="Examples: phantom-edge app demo --bundle phantom-0.5b-web  |  "
    "phantom-edge app demo --host 0.0.0.0 --cert cert.pem --key key.pem"
)
@command
def demo(
    bundle: Bundle = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    certificate: Certificate = None,
    key: Key = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
    code: Code = True,
    as_json: Json = False,
) -> None:
    """Show a live camera answer in the browser.

    Exports, builds, serves and opens, as far as that was not done before. A first build needs Node.js.
    With --host 0.0.0.0 a phone in the same network can open it: its address is printed, also as a QR code.
    """
    from phantom_edge.apps.demo import demo_mounts

    with progress(quiet=as_json) as p:
        mounts = demo_mounts(bundle, p.step)
    _serve(mounts, host, port, certificate, key, browser=browser, code=code, as_json=as_json)


def _serve(
    mounts: Mapping[str, Path],
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    *,
    browser: bool,
    code: bool,
    as_json: bool,
) -> None:
    import webbrowser

    from phantom_edge.apps.reach import Reach
    from phantom_edge.apps.serve import serving

    try:
        with serving(mounts, host=host, port=port, certificate=certificate, key=key) as server:
            reach = Reach.of(server)
            if as_json:  # one line: who reads it waits for its end
                echo(json.dumps({"address": server.address, "others": reach.addresses}))
            else:
                echo(f"{server.address}  (Ctrl-C ends it)")
                show_reach(reach, code=code)
            if browser:
                webbrowser.open(server.address)
            server.run()
    except KeyboardInterrupt:
        return  # the way to end it, and no error
