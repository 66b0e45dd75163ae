"""How a command ends for a person: a verdict in a line, and the command that one needs next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from phantom_edge.cli.printing import echo, say

PROGRAM: Final = "phantom-edge"
ENOUGH: Final = 50
"""Questions per task that `eval` asks by default."""


def command_line(*words: object) -> str:
    """Words as a command line that a shell takes; what is None is left out with the option before it.

    >>> from phantom_edge.cli.ending import command_line
    >>> command_line("run", "--model", "my nano", "--prompt", None)
    "phantom-edge run --model 'my nano'"
    """
    line: list[str] = []
    for word in words:
        if word is None:
            line.pop()
        else:
            line.append(shlex.quote(str(word)))
    return " ".join([PROGRAM, *line])


def next_step(*words: object) -> None:
    """Print the next command to stdout, where the result is tables for people."""
    echo(f"next: {command_line(*words)}")


def after_export(folder: Path, target: str, *, verified: bool) -> None:
    """What to do with a new bundle: verify it where that was left out, else ask it."""
    if not verified:
        next_step("verify", folder)
    elif target in ("web", "webgpu"):
        next_step("app", "demo", "--bundle", folder)
    else:
        next_step("run", "--model", folder, "--image", "PICTURE", "--prompt", "What is this?")


def after_eval(model: str | None, against: Sequence[str], fewest: int) -> None:
    """Ask more where the questions were few, then another model; else look at the answers."""
    pairs = [word for other in against for word in ("--against", other)]
    if fewest < ENOUGH:
        next_step("eval", "--model", model, *pairs, "--samples", ENOUGH)
    elif not against:
        next_step("eval", "--model", model, "--against", "ANOTHER")
    else:
        next_step("eval", "--model", model, *pairs, "--html", "eval.html")


def after_quantize(model: str | None, output: Path | None) -> None:
    """Export what was written, or write it."""
    if output is None:
        next_step("quantize", "--model", model, "--output", "quantised.safetensors")
    else:
        next_step("export", "--model", model, "--target", "ios", "--quant", output)


def before_run(knows: str | None) -> None:
    """What the model knows, where it says so: to stderr of a terminal alone, as what follows the answers."""
    if knows is not None and sys.stderr.isatty():
        say(f"what this model knows: {knows}")


def after_run(model: str | None, answers: Sequence[dict[str, Any]]) -> None:
    """How long it took, and what next: to stderr of a terminal alone, because the answer is data."""
    if not answers or not sys.stderr.isatty():
        return
    empty = sum(not answer["answer"].strip() for answer in answers)
    tokens = sum(answer["new_tokens"] for answer in answers)
    first = answers[0]["vision"] + answers[0]["prefill"]
    which = "1 answer" if len(answers) == 1 else f"{len(answers)} answers"
    nothing = f", {empty} of them empty" if empty else ""
    say(f"{which}{nothing}: {tokens} tokens, the first after {first:.2f} s")
    if model is None:
        say(f"next: {command_line('export', '--target', 'web')}")
    else:
        say(f"next: {command_line('eval', '--model', model)}")
