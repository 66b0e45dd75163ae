"""llama.cpp's own benchmark programs, run and read."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from phantom_edge.errors import CheckError

ENCODED = re.compile(r"(?:encoding done|encoded) in (\d+) ms")
LOG_LINES = 3  # of a failed program, shown in the error
FLASH_ATTENTION = (0, 1)  # both are tried: which is faster depends on depth and machine


def decoders(folder: Path) -> list[Path]:
    """Quantised decoders in ``folder``."""
    return sorted(folder.glob("decoder-q*.gguf"))


def encoders(folder: Path) -> list[Path]:
    """Vision encoders in ``folder``."""
    return sorted(folder.glob("mmproj-*.gguf"))


def bench(
    program: Path, model: Path, *, threads: int, prefill: int, steps: int, depth: int
) -> Iterator[dict]:
    """Prefill and decode at both depths, with and without flash attention.

    Yields ``{"metric", "value", "setting"}``; values are tokens per second, memory in bytes.
    """
    common = ["-m", str(model), "-t", str(threads), "-r", "1", "-o", "json"]
    tests = {
        0: ["-p", str(prefill), "-n", str(steps), "-d", "0"],
        depth: ["-p", "0", "-n", str(steps), "-d", str(depth)],
    }
    for flash in FLASH_ATTENTION:
        for where, arguments in tests.items():
            output, peak = run([str(program), *common, "-fa", str(flash), *arguments])
            yield from read_bench(output, f"-fa {flash}")
            if where == depth:
                yield {"metric": "resident_decoder", "value": peak, "setting": f"-fa {flash}"}


def read_bench(output: str, setting: str) -> Iterator[dict[str, Any]]:
    """The entries of ``llama-bench -o json``. Raises :class:`CheckError` when that is not what ``output``
    is.
    """
    try:
        entries = json.loads(output)
        for entry in entries:
            kind = "prefill" if entry["n_prompt"] else ("decode_deep" if entry["n_depth"] else "decode_empty")
            yield {"metric": kind, "value": float(entry["avg_ts"]), "setting": setting}
    except (ValueError, KeyError, TypeError):
        raise CheckError(f"llama-bench printed no results: {output[-200:]!r}") from None


def encode(
    program: Path, model: Path, encoder: Path, image: Path, *, threads: int
) -> Iterator[dict[str, Any]]:
    """Seconds for one tile, and the peak memory of a process that holds both models, as llama-mtmd-cli
    reports them.
    """
    arguments = ["--image", str(image), "-p", "What is it?", "-n", "8", "-t", str(threads), "--temp", "0"]
    models = ["-m", str(model), "--mmproj", str(encoder), "-c", "4096", "--chat-template", "chatml"]
    output, peak = run([str(program), *models, *arguments], merged=True)
    setting = encoder.stem.removeprefix("mmproj-")
    yield {"metric": "tile", "value": read_encode(output), "setting": setting}
    yield {"metric": "resident", "value": peak, "setting": setting}


def read_encode(output: str) -> float:
    """Seconds that the image took. Raises :class:`CheckError` when the program did not say."""
    found = ENCODED.findall(output)
    if not found:
        raise CheckError(f"llama-mtmd-cli did not say how long the image took: {output[-200:]!r}")
    return sum(map(int, found)) / 1000


def run(command: Sequence[str], *, merged: bool = False) -> tuple[str, int]:
    """Run a program: its output and its peak resident memory in bytes. Raises :class:`CheckError` when it
    fails.
    """
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True
    ) as child:
        output = child.stdout.read()
        said = output if merged else child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        last = " | ".join(said.strip().splitlines()[-LOG_LINES:])
        raise CheckError(f"{Path(command[0]).name} ended with {child.returncode}: {last}")
    return output, usage.ru_maxrss * 1024
