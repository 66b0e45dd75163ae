"""``phantom-edge app ios`` and ``app android``: complete projects around a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phantom_edge.cli.app_command import Bundle, Json, apps
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.printing import echo, echo_json

if TYPE_CHECKING:
    from phantom_edge.apps.android import AndroidRequest
    from phantom_edge.apps.ios import IosRequest

Output = Annotated[Path, typer.Option("--output", "-o", help="New or empty folder for the project.")]
Name = Annotated[str | None, typer.Option(help="Name of the project. Default: from the folder's name.")]
Title = Annotated[str | None, typer.Option(help="What the app is called on the screen.")]


@apps.command(
    epilog="Example: phantom-edge app ios --bundle phantom-nano-ios --output NanoAR --team-id ABCDE12345 && "
    "open NanoAR/NanoAR.xcodeproj"
)
@command
def ios(
    output: Output,
    bundle: Bundle = None,
    name: Name = None,
    title: Title = None,
    bundle_id: Annotated[
        str | None, typer.Option("--bundle-id", help="Default: from the name and the team, to be unique.")
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team-id", help="Apple developer team; without it Xcode asks for one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write an Xcode project around a bundle.

    Complete, with the bundle and the Swift library inside: AR where the device has it, else the plain camera.
    """
    from phantom_edge.apps.ios import IosRequest, write_ios_app

    request = IosRequest(name, title, bundle_id, team)
    project = _write(write_ios_app, request, bundle, output, "ios", as_json)
    if not as_json:
        echo(f"wrote {output}\nopen it with: open {project}   (Xcode 26 or later)")


@apps.command(
    epilog="Example: phantom-edge app android --bundle phantom-nano-android --output nano-ar && "
    "cd nano-ar && ./gradlew installDebug"
)
@command
def android(
    output: Output,
    bundle: Bundle = None,
    name: Name = None,
    title: Title = None,
    bundle_id: Annotated[str | None, typer.Option("--bundle-id", help="Default: from the name.")] = None,
    model_url: Annotated[
        str | None, typer.Option("--model-url", help="Let the app fetch the bundle from this https address.")
    ] = None,
    npu: Annotated[
        Path | None,
        typer.Option(help="A bundle for snapdragon of the same model: phones with its chips use it."),
    ] = None,
    npu_url: Annotated[
        str | None,
        typer.Option("--npu-url", help="Let each phone fetch its chip's part of it from this address."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a Gradle project around a bundle.

    Complete, with the bundle and the Kotlin library inside: AR where the phone has it, else the plain camera.
    With --npu the app also has a part for the NPU of a Snapdragon, and falls back to the bundle.
    """
    from phantom_edge.apps.android import AndroidRequest, write_android_app

    request = AndroidRequest(name, title, bundle_id, model_url, npu, npu_url)
    folder = _write(write_android_app, request, bundle, output, "android", as_json)
    if not as_json:
        if npu is not None:
            echo(_parts(npu))
        echo(f"wrote {folder}\nrun it with: cd {folder} && ./gradlew installDebug")


def _parts(npu: Path) -> str:
    """What a phone takes of a bundle for NPUs, by chip, in one line."""
    from phantom_edge.bundle.locate import locate_bundle
    from phantom_edge.bundle.npu import part_bytes

    sizes = part_bytes(locate_bundle(npu, check=False))
    return "for the NPU: " + ", ".join(f"{chip} {size / 1e6:,.1f} MB" for chip, size in sizes.items())


def _write(
    write: Callable[..., Path],
    request: IosRequest | AndroidRequest,
    bundle: Path | None,
    output: Path,
    target: str,
    as_json: bool,
) -> Path:
    from phantom_edge.apps.demo import nano_bundle
    from phantom_edge.system.outputs import check_new_folder

    with progress(quiet=as_json) as p:
        check_new_folder(output)
        request.resolve(output)  # before the embedded model is exported, which takes a minute
        project = write(bundle or nano_bundle(p.step, target=target), output, request, step=p.step)
    if as_json:
        echo_json({"project": str(project)})
    return project
