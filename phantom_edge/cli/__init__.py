"""The command line: thin over the public Python API. Nothing heavy is imported on the way to ``--help``."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

from phantom_edge import __version__
from phantom_edge.cli.console import DEBUG
from phantom_edge.cli.printing import PrintError, guarded, prepare_streams, say
from phantom_edge.cli.strict import StrictTyper
from phantom_edge.system import interrupts

app = StrictTyper(
    name="phantom-edge",
    help="Put a trained Phantom vision-language model on phones, in browsers and on edge devices.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Without --model every command uses the embedded Phantom-Nano: phantom-edge export --target ios",
)


def _version(given: bool) -> None:
    if given:
        typer.echo(f"phantom-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the platforms' own warnings.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # Read by OpenMP when torch is first imported. Its threads otherwise wait by spinning, and on a machine
    # that is busy with other work they then spend the time that the working thread needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if debug:
        os.environ[DEBUG] = "1"
    else:
        _silence()


def _silence() -> None:
    """The platforms' libraries warn about each other's versions on import; only --debug shows it."""
    import logging

    warnings.filterwarnings("ignore")
    for name in ("coremltools", "torch.utils._pytree", "torchao", "executorch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; ``arguments`` default to the process's own. Raises :class:`SystemExit`."""
    prepare_streams()
    code: object = 0
    try:
        with guarded():  # the help, and the last flush, which would else fail in the interpreter's own way
            try:
                app(args=arguments, prog_name="phantom-edge")
            except SystemExit as ended:
                code = ended.code
    except PrintError as error:
        if str(error):
            say(f"error: {error}", colour="red")
        code = error.exit_code
    finally:
        interrupts.uninstall()
    sys.exit(code)  # type: ignore[arg-type]


from phantom_edge.cli import app_command as _app_command  # noqa: E402, F401
from phantom_edge.cli import app_native as _app_native  # noqa: E402, F401
from phantom_edge.cli import bench as _bench  # noqa: E402, F401
from phantom_edge.cli import commands as _commands  # noqa: E402, F401  (registers the commands on app)
from phantom_edge.cli import eval_command as _eval_command  # noqa: E402, F401
from phantom_edge.cli import hub_commands as _hub_commands  # noqa: E402, F401
from phantom_edge.cli import quantize_command as _quantize_command  # noqa: E402, F401
from phantom_edge.cli import scenes_command as _scenes_command  # noqa: E402, F401
from phantom_edge.cli import serve_command as _serve_command  # noqa: E402, F401
from phantom_edge.cli import sweep_command as _sweep_command  # noqa: E402, F401
from phantom_edge.cli import tune_command as _tune_command  # noqa: E402, F401
