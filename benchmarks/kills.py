"""Kills commands at random moments by four signals, and looks for what was lost or left behind.

    python -m benchmarks.kills --count 200 --seed 0

Each trial prepares a folder with earlier results, starts a command, kills it, checks that every earlier
result is whole or replaced by a whole new one, runs the same command to its end, and checks that nothing but
its results is there: not in the folder, not among the temporary files, not in the cache, and no process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from phantom_edge.bundle.folder import Bundle
from recipes.synthetic import TINY, write_checkpoint

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CONTEXT = ("--context", "160")
FINISHED = "finished before the signal"
STARTING = 0.3  # seconds in which the interpreter itself may answer a Ctrl-C, in its own words
PATIENCE = 30  # seconds until a command that was asked to end must have


@dataclass(frozen=True)
class Command:
    """A command line, what it leaves, and what must not be lost when it is killed."""

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    check: Callable[[Path], None]
    once: bool = False
    """Whether it is refused where its result is."""


@dataclass
class Tally:
    """What was seen over all trials."""

    kills: Counter[str] = field(default_factory=Counter)
    """Of commands at work, by signal."""
    ended: Counter[str] = field(default_factory=Counter)
    leftovers: int = 0
    """Kills after which something lay around, before the next run removed it."""
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.kills.values())


def commands() -> tuple[Command, ...]:
    export = ("export", "-m", "tiny", *CONTEXT, "-t")
    return (
        Command("export web", (*export, "web", "-o", "bundle"), ("bundle",), _bundle("bundle")),
        Command("export ios", (*export, "ios", "-o", "ios"), ("ios",), _bundle("ios")),
        Command("export android", (*export, "android", "-o", "pte"), ("pte",), _bundle("pte")),
        Command(
            "quantize",
            ("quantize", "-m", "tiny", "--samples", "8", "--quant", "int4",
             "-o", "q.safetensors", "--html", "q.html"),
            ("q.safetensors", "q.html"),
            _files("q.safetensors", "q.html"),
        ),
        Command(
            "eval",
            ("eval", "-m", "tiny", "--samples", "2", "--tasks", "colour",
             "--records", "r.jsonl", "--html", "e.html"),
            ("r.jsonl", "e.html"),
            _files("r.jsonl", "e.html"),
        ),
        Command(
            "bench",
            ("bench", "bundle", "--processes", "2", "--repeats", "1", "--steps", "2", "--depths", "0",
             "--html", "b.html"),
            ("b.html",),
            _bundle("bundle"),
        ),
        Command(
            "app web", ("app", "web", "-b", "bundle", "-o", "app"), ("app",), _bundle("bundle"), once=True
        ),
        Command(
            "tune",
            ("tune", "-m", "tiny", "--data", "data/triples.jsonl", "--images", "data", "-o", "tuned",
             "--steps-1", "2", "--steps-2", "2", "--batch", "2", "--save-every", "0"),
            ("tuned",),
            _files(),
        ),
    )  # fmt: skip


def _bundle(name: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        Bundle.open(folder / name)

    return check


def _files(*names: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        for name in names:
            assert (folder / name).stat().st_size > 0, f"{name} is empty"

    return check


class Sandbox:
    """A folder to work in, with its own temporary files and cache."""

    def __init__(self, root: Path, prepared: Path):
        self.work, self.temporary, self.cache = root / "work", root / "tmp", root / "cache"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(prepared, self.work)
        self.temporary.mkdir()
        self.cache.mkdir()

    def start(self, command: Command) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "phantom_edge", *command.words],
            cwd=self.work,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed,
        )

    def listing(self) -> set[str]:
        """What lies in the work folder, and the temporary and partial files outside it."""
        names = {f"work/{path.name}" for path in self.work.iterdir()}
        names |= {f"tmp/{path.name}" for path in self.temporary.iterdir()}
        partial = (path for path in self.cache.rglob("*") if ".partial-" in path.name)
        return names | {f"cache/{path.name}" for path in partial}

    def processes(self) -> list[str]:
        """Processes that work in this folder."""
        running = []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                if (proc / "cwd").resolve().is_relative_to(self.work):
                    running.append((proc / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return running


def _heed() -> None:
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)


def trial(
    command: Command, how: signal.Signals, moment: float, box: Sandbox, tally: Tally, *, again: bool = True
) -> str:
    """Kill once, and look; with ``again`` run to the end, and look again. How the killed one ended."""
    ended = "went on"
    label = f"{command.name}, {how.name} after {moment:.2f} s"
    before = box.listing()
    process = box.start(command)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        tally.faults.append(f"{label}: it went on")
        return ended
    ended = _outcome(process.returncode, how)
    tally.ended[ended] += 1
    tally.kills[how.name] += ended != FINISHED
    _look(label, command, box, before, tally, killed=how, code=process.returncode, said=said, moment=moment)
    if not again:
        return ended
    if command.once and (box.work / command.results[0]).exists():
        shutil.rmtree(box.work / command.results[0])  # it is refused where its result is
    process = box.start(command)
    _, said = process.communicate()
    if process.returncode:
        tally.faults.append(f"{label}: the next run ended with {process.returncode}: {said.strip()[-200:]}")
    if extra := box.listing() - before - {f"work/{name}" for name in command.results}:
        tally.faults.append(f"{label}: after the next run there is {sorted(extra)}")
    return ended


def _outcome(code: int, how: signal.Signals) -> str:
    if code == 0:
        return FINISHED
    return "killed" if code in (-how, 128 + how) else f"exit code {code}"


def _look(
    label: str, command: Command, box: Sandbox, before: set[str], tally: Tally, *,
    killed: signal.Signals, code: int, said: str, moment: float,
) -> None:  # fmt: skip
    try:
        command.check(box.work)
    except Exception as error:
        tally.faults.append(f"{label}: lost: {error}")
    extra = box.listing() - before - {f"work/{name}" for name in command.results}
    tally.leftovers += bool(extra)
    if killed == signal.SIGKILL:
        time.sleep(0.3)  # the system ends the children
    if running := box.processes():
        tally.faults.append(f"{label}: still runs: {running}")
    if killed == signal.SIGKILL or moment < STARTING:
        return
    if extra - {"work/tuned.partial"}:  # the state that the next run goes on from
        tally.faults.append(f"{label}: left {sorted(extra)}")
    if code not in (0, 128 + killed, -killed) or said.count("\n") > 1:
        tally.faults.append(f"{label}: ended with {code}: {said.strip()[-200:]}")


def prepare(folder: Path) -> dict[str, float]:
    """A folder with the results of every command, and how long each took."""
    write_checkpoint(folder / "tiny", TINY)
    box = Sandbox(folder.parent / "box", folder)
    scenes = Command("scenes", ("scenes", "data", "--count", "2", "--size", "64"), (), _files())
    seconds = {}
    for command in (scenes, *commands()):
        start = time.monotonic()
        process = box.start(command)
        _, said = process.communicate()
        if process.returncode:
            sys.exit(f"{command.name}: {said}")
        seconds[command.name] = time.monotonic() - start
    shutil.rmtree(folder)
    shutil.copytree(box.work, folder)
    for name in ("app", "tuned"):  # these are not replaced
        shutil.rmtree(folder / name)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="kills of commands at work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="commands whose name contains this")
    arguments = parser.parse_args()
    rng, tally = random.Random(arguments.seed), Tally()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        root = Path(name)
        (root / "prepared").mkdir()
        seconds = prepare(root / "prepared")
        chosen = [command for command in commands() if (arguments.only or "") in command.name]
        with suppress(KeyboardInterrupt):  # what was seen until then is still shown
            for number in itertools.count():
                if tally.total >= arguments.count:
                    break
                command, how = chosen[number % len(chosen)], SIGNALS[number // len(chosen) % len(SIGNALS)]
                moment = rng.uniform(0, seconds[command.name])
                seen, start = len(tally.faults), time.monotonic()
                ended = trial(command, how, moment, Sandbox(root / "box", root / "prepared"), tally)
                if ended == FINISHED:  # it is quicker than it was
                    seconds[command.name] = min(seconds[command.name], (time.monotonic() - start) / 2)
                for fault in tally.faults[seen:]:
                    print(f"{number + 1}: {fault}", file=sys.stderr, flush=True)
    summary = {
        "kills": dict(tally.kills),
        "ended": dict(tally.ended),
        "left until the next run": tally.leftovers,
    }
    print(json.dumps({**summary, "faults": tally.faults}, indent=2))
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
