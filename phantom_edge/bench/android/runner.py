"""The stock ExecuTorch runner on a phone: it outlives a lost connection, and its own numbers are read.

The runner is any program built on ``MultimodalRunner`` with the flags of ExecuTorch's examples. It measures
less than our own app: image and prompt in one, decoding at the prompt's depth only.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from dataclasses import dataclass, field
from typing import Any

from phantom_edge.bench.android import parse, phone
from phantom_edge.bench.android.adb import Adb
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.errors import CheckError, InputError, PhantomEdgeError
from phantom_edge.progress import Step
from phantom_edge.text.tokenizer import Tokenizer

NEEDED = ("model_path", "tokenizer_path", "prompt", "image_path")
POLL = 0.5  # seconds
SAMPLE = 0.5  # seconds between the phone's own looks at the runner's memory
SILENCE = 1800.0  # seconds for one prompt
LEAST_CHARGE = 5000  # microampere hours: fuel gauges count in steps of about one milliampere hour
GROWN = " Look again."  # makes a prompt longer, a few tokens at a time
JOINT = "the stock runner times image and prompt together"
NOTES = (
    "the stock runner wraps the question in a template of its own: its times count, its answer does not",
    "decoding is its average over the answer, at a cache that grows from the prompt's length",
)


@dataclass
class StockRunner:
    """The pushed program in ``folder`` on the device, and the flags that it knows."""

    adb: Adb
    folder: str
    flags: set[str] = field(default_factory=set)

    def probe(self, name: str) -> None:
        """Read the program's flags. Raises :class:`InputError` for one that takes no picture and prompt."""
        output = self.adb.shell(f"cd {self.folder} && ./runner --help 2>&1", check=False)
        self.flags = parse.runner_flags(output)
        if not self.flags:
            last = parse.last_line(output)
            raise InputError(f"--runner {name}: no runner that the phone can start ({last}); use the NDK")
        missing = [flag for flag in NEEDED if flag not in self.flags]
        if missing == ["image_path"]:
            raise InputError(
                f"--runner {name}: takes no --image_path, so it is a text runner (llama_main); "
                "a Phantom needs a multimodal one, such as gemma3_e2e_runner"
            )
        if missing:
            raise InputError(f"--runner {name}: has no --{missing[0]}; build it from ExecuTorch 1.x")

    def run(self, prompt: str, threads: int | None, tokens: int) -> tuple[dict[str, int], int | None]:
        """One prompt in a fresh process: the runner's statistics and its peak memory in bytes."""
        arguments = ["--model_path=model.pte", "--tokenizer_path=tokenizer.json", "--image_path=picture.png"]
        arguments += [f"--prompt={prompt}", "--temperature=0"]
        for flag in ("max_new_tokens", "seq_len"):
            if flag in self.flags:
                arguments.append(f"--{flag}={tokens}")
        if threads is not None and "cpu_threads" in self.flags:
            arguments.append(f"--cpu_threads={threads}")
        if "warmup" in self.flags:
            arguments.append("--warmup=true")
        try:
            self._start(arguments)
            output, peak = self._finished()
        except BaseException:  # an interruption, too: it outlives the connection, so it must be ended
            with contextlib.suppress(PhantomEdgeError):
                self.adb.shell(f"kill $(cat {self.folder}/pid)", check=False)
            raise
        return parse.runner_stats(output), peak

    def _start(self, arguments: list[str]) -> None:
        """In the phone's background, with output, peak memory and end in files: it outlives the connection.

        The mark ``started`` keeps a second attempt, after a lost answer, from starting it twice. A process
        that has ended has no ``VmHWM``; one that is still the shell is not looked at.
        """
        line = " ".join(["./runner", *map(shlex.quote, arguments)])
        look = f"read n < /proc/$p/comm && [ $n = runner ] && mv peak.new peak; sleep {SAMPLE}"
        watch = f"while grep VmHWM /proc/$p/status > peak.new; do {look}; done 2>/dev/null"
        script = f"{line} > out 2>&1 & p=$!; echo $p > pid; {watch}; wait $p; echo $? > rc"
        self.adb.shell(f"cd {self.folder} && rm -f out pid rc peak peak.new started")
        start = f"touch started; nohup sh -c {shlex.quote(script)} >/dev/null 2>&1 &"
        self.adb.shell(f"cd {self.folder} && (test -e started || ({start}))")

    def _finished(self) -> tuple[str, int | None]:
        """Wait for the end: output and peak memory. Raises :class:`CheckError` when the runner fails."""
        end = time.monotonic() + SILENCE
        while time.monotonic() < end:
            status = (self.adb.read(f"{self.folder}/rc") or "").strip()
            if status.isdigit():
                output = self.adb.read(f"{self.folder}/out") or ""
                if status != "0":
                    raise CheckError(f"the runner ended with {status}: {parse.last_line(output)}")
                return output, parse.peak_bytes(self.adb.read(f"{self.folder}/peak") or "")
            time.sleep(POLL)
        raise CheckError(f"the runner did not end within {SILENCE:.0f} s; use smaller --depths")


def measure(
    runner: StockRunner, tokenizer: Tokenizer, question: str, settings: Settings, run: Run, step: Step
) -> None:
    """Fill ``run``: every process one prompt, as short as it is and then grown to each depth."""
    context = run.model["context"]
    depths = [0, *(d for d in settings.fitting(context) if d)]
    for n in range(settings.processes):
        for depth in depths:
            length = f"{depth} tokens" if depth else "the question alone"
            step(f"process {n + 1} of {settings.processes}, {length}")
            prompt = grown(tokenizer, question, depth - run.model["image_tokens"])
            stats, peak = runner.run(prompt, settings.threads, settings.steps)
            add(run, stats, peak, first=not depth)
    run.missing["preprocess"] = "the stock runner does it before its clock starts"
    run.missing |= {"vision": JOINT, "prefill": JOINT}
    run.notes += NOTES


def add(run: Run, stats: dict[str, int], peak: int | None, *, first: bool) -> None:
    """Add one run of the runner. ``first`` for the short prompt, whose first token is the one that counts."""
    tokens = stats["generated_tokens"]
    seconds = (stats["inference_end_ms"] - stats["prompt_eval_end_ms"]) / 1000
    if tokens > 0 and seconds > 0:
        run.add(f"decode@{stats['prompt_tokens']}", tokens / seconds)
    if first:
        run.model["prompt_tokens"] = stats["prompt_tokens"]
        run.add("first_token", (stats["first_token_ms"] - stats["inference_start_ms"]) / 1000)
    # Runners that load before they generate leave both at 0.
    if stats["model_load_end_ms"] > stats["model_load_start_ms"] > 0:
        run.add("load", (stats["model_load_end_ms"] - stats["model_load_start_ms"]) / 1000)
    elif "load" not in run.samples:
        run.missing["load"] = "this runner loads the model before its clock starts"
    if peak is not None:
        run.add("memory", peak)
    elif "memory" not in run.samples:
        run.missing["memory"] = "the runner ended before its memory could be read"


def soak(runner: StockRunner, question: str, settings: Settings, run: Run, step: Step) -> None:
    """Answer for so many minutes; speed and heat per answer, energy from the battery's charge counter."""
    begin, tokens = time.monotonic(), 0
    before = parse.battery(runner.adb.shell("dumpsys battery", check=False))
    speed: list[tuple[float, float]] = []
    heat: list[tuple[float, float]] = []
    while (now := time.monotonic() - begin) < 60 * settings.soak:
        stats, _ = runner.run(question, settings.threads, 4 * settings.steps)
        seconds = (stats["inference_end_ms"] - stats["prompt_eval_end_ms"]) / 1000
        if stats["generated_tokens"] > 0 and seconds > 0:
            speed.append((time.monotonic() - begin, stats["generated_tokens"] / seconds))
            tokens += stats["generated_tokens"]
        state = phone.condition(runner.adb)
        if "thermal celsius" in state:
            heat.append((time.monotonic() - begin, state["thermal celsius"]))
        step(f"soaking, {now / 60:.1f} of {settings.soak:g} minutes")
    run.curves["soak"] = speed
    if heat:
        run.curves["temperature"] = heat
    after = parse.battery(runner.adb.shell("dumpsys battery", check=False))
    energy(run, before, after, tokens)


def energy(run: Run, before: dict[str, Any], after: dict[str, Any], tokens: int) -> None:
    """Joules per generated token from the charge that left the battery, loading and prefill included."""
    if before["powered"] or after["powered"]:
        why = "the phone was charging; connect over Wi-Fi (`adb tcpip 5555`, `adb connect`) and unplug it"
    elif "charge" not in before or "charge" not in after or "volts" not in after:
        why = "this phone's battery has no charge counter"
    elif before["charge"] - after["charge"] < LEAST_CHARGE:
        why = "less than 5 mAh left the battery, too little to count; use more --soak minutes"
    else:
        volts = (before.get("volts", after["volts"]) + after["volts"]) / 2
        run.add("energy", (before["charge"] - after["charge"]) * 1e-6 * 3600 * volts / max(tokens, 1))
        run.notes.append("energy is the whole phone's over the soak: screen, loading and prefill included")
        return
    run.missing["energy"] = why


def grown(tokenizer: Tokenizer, question: str, tokens: int) -> str:
    """The question, followed by enough text that the whole has about ``tokens`` tokens."""
    length = len(tokenizer.encode(question))
    more = len(tokenizer.encode(question + GROWN)) - length
    return question + GROWN * max(0, (tokens - length) // max(1, more))
