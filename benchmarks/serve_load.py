"""The API server under load: overhead over a session, many clients at once, memory, and a killed process.

    python -m benchmarks.serve_load nano-desktop --minutes 5 --clients 100 --json load.json

Every answer of the load is a stream about a picture or about none, and is compared with a session's. The
server's own process and the model's are measured each second: memory counts as steady where its mean over the
last fifth of the time is within 5 % of that over the second fifth.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import typer
from PIL import Image

import phantom_edge as pe
from benchmarks.api_client import ApiClient, Outcome
from phantom_edge.bench.machine import watched
from phantom_edge.images import load_image
from phantom_edge.scenes.write import write_scenes
from phantom_edge.system.resident import resident

QUESTIONS = (
    "How many objects are there?",
    "What colour is the largest object?",
    "Describe the image.",
    "Is there a red circle?",
)
PICTURES = 8
LONG = 200  # characters of the answers that overhead is measured with
REPEATS = 40
STEADY = 0.05


@dataclass(frozen=True)
class Question:
    """A request's body, and the answer that a session gives."""

    body: bytes
    expected: str


def body(question: str, picture: Image.Image | None, **fields: Any) -> bytes:
    """A request of a stream."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        file = io.BytesIO()
        picture.save(file, "png")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
    messages = [{"role": "user", "content": parts}]
    return json.dumps({"messages": messages, "stream": True, **fields}).encode()


def questions(session: pe.Session, pictures: Sequence[Image.Image]) -> list[Question]:
    """Every question about each picture, and about none."""
    cases = [(question, picture) for question in QUESTIONS for picture in (None, *pictures)]
    return [Question(body(q, p), "".join(session.generate(q, p))) for q, p in cases]


@contextlib.contextmanager
def serving(bundle: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server's process and its port."""
    command = [sys.executable, "-m", "phantom_edge", "serve", "-m", str(bundle), "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            yield process, int(address.rstrip("/").rpartition(":")[2])
        finally:
            process.terminate()


def model_pid(server: int) -> int:
    """The process of the server's one model."""
    listed = subprocess.run(["pgrep", "-P", str(server)], capture_output=True, text=True, check=True)
    return int(listed.stdout.split()[0])


# --- overhead


async def overhead(session: pe.Session, port: int, picture: Image.Image) -> dict[str, Any]:
    """Milliseconds that the API adds to a request of one token, and to each further token.

    Of interleaved runs; the long answers have a form that lets them be long. By medians, and by the fastest
    runs, which other work on the machine disturbs least.
    """
    client, file = ApiClient(port), io.BytesIO()
    picture.save(file, "png")  # which both have to decode

    def decoded() -> Image.Image:
        return load_image(io.BytesIO(file.getvalue()))

    pattern = f"[a-z ]{{{LONG}}}"
    form = pe.Form(regex=pattern)
    response_format = {"type": "regex", "regex": pattern}
    short = body(QUESTIONS[0], picture, max_tokens=1)
    long = body(QUESTIONS[0], picture, response_format=response_format, max_tokens=LONG)
    times: dict[str, list[float]] = {name: [] for name in ("short", "api_short", "long", "api_long")}
    tokens = 0
    for _ in range(REPEATS):
        begin = time.perf_counter()
        "".join(session.generate(QUESTIONS[0], decoded(), max_tokens=1))
        times["short"].append(time.perf_counter() - begin)
        times["api_short"].append((await client.ask(short)).seconds)
        begin = time.perf_counter()
        chat = session.chat(decoded())
        "".join(chat.ask(QUESTIONS[0], form=form, max_tokens=LONG))
        times["long"].append(time.perf_counter() - begin)
        tokens = chat.timing.new_tokens
        times["api_long"].append((await client.ask(long)).seconds)
    await client.close()
    return {
        "tokens": tokens,
        "median": _overhead(times, median, tokens),
        "best": _overhead(times, min, tokens),
    }


def _overhead(
    times: dict[str, list[float]], of: Callable[[list[float]], float], tokens: int
) -> dict[str, float]:
    ms = {name: 1000 * of(values[3:]) for name, values in times.items()}
    request = ms["api_short"] - ms["short"]
    return {
        "session_request_ms": ms["short"],
        "request_overhead_ms": request,
        "session_token_ms": (ms["long"] - ms["short"]) / (tokens - 1),
        "token_overhead_ms": (ms["api_long"] - ms["long"] - request) / (tokens - 1),
    }


# --- load


@dataclass
class Load:
    """What came of a load: outcomes by kind, times, memory by process and second."""

    counts: Counter[str]
    seconds: list[float]
    first: list[float]
    memory: dict[str, list[int]]
    time: float = 0.0

    def take(self, outcome: Outcome, question: Question) -> None:
        """Count an outcome, and compare a whole answer with the session's."""
        if outcome.failure:
            self.counts[outcome.failure] += 1
        elif outcome.text != question.expected:
            self.counts["different"] += 1
        else:
            self.counts["right"] += 1
            self.seconds.append(outcome.seconds)
            self.first.append(outcome.first)

    def growth(self, process: str) -> float:
        """How much more memory the last fifth of the time had than the second."""
        values = self.memory[process]
        fifth = max(1, len(values) // 5)
        return mean(values[-fifth:]) / mean(values[fifth : 2 * fifth] or values) - 1


async def load(port: int, server: int, pool: Sequence[Question], clients: int, seconds: float) -> Load:
    """``clients`` ask at once, each its next question when the last is answered."""
    result = Load(Counter(), [], [], {"server": [], "model": []})
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        chosen, client = random.Random(number), ApiClient(port)
        while time.monotonic() < end:
            question = chosen.choice(pool)
            outcome = await client.ask(question.body)
            result.take(outcome, question)
            if outcome.status == 429:
                await asyncio.sleep(outcome.retry_after)
        await client.close()

    async def measure() -> None:
        while time.monotonic() < end:
            for name, pid in (("server", server), ("model", model_pid(server))):
                result.memory[name].append(resident(pid) or 0)
            await asyncio.sleep(1)

    begin = time.monotonic()
    await asyncio.gather(measure(), *(one(number) for number in range(clients)))
    result.time = time.monotonic() - begin
    return result


async def kill(port: int, server: int, pool: Sequence[Question]) -> dict[str, Any]:
    """Kill the model's process in the middle of an answer; what the next questions see, and when."""
    long = body(
        QUESTIONS[0], None, response_format={"type": "regex", "regex": "[a-z]{500,}"}, max_tokens=1000
    )
    client, other, pid = ApiClient(port), ApiClient(port), model_pid(server)
    answer = asyncio.create_task(client.ask(long))
    await client.begun.wait()
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    failed = await answer
    results = Load(Counter(), [], [], {})
    for question in pool:
        results.take(await other.ask(question.body), question)
        if len(results.seconds) == 1:
            back = time.monotonic() - begin
    await asyncio.gather(client.close(), other.close())
    return {"failure": failed.failure, "seconds_until_next_answer": back, "then": dict(results.counts)}


def row(name: str, value: object) -> None:
    typer.echo(f"| {name} | {value} |")


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    loaded = result["load"]
    row("", "")
    row("---", "--:")
    for kind in ("median", "best"):
        o = result["overhead"][kind]
        each = f"{o['request_overhead_ms']:.2f} over {o['session_request_ms']:.1f} ms"
        row(f"a request's overhead over a session ({kind})", each)
        row(f"a token's ({kind})", f"{o['token_overhead_ms']:.3f} over {o['session_token_ms']:.2f} ms")
    row("clients at once, seconds", f"{loaded['clients']}, {loaded['seconds']:.0f}")
    row("answers, each equal to the session's", loaded["counts"].get("right", 0))
    row("answered 429", loaded["counts"].get("rate_limit_exceeded", 0))
    others = {k: v for k, v in loaded["counts"].items() if k not in ("right", "rate_limit_exceeded")}
    row("anything else", others or 0)
    row("answers a second", f"{loaded['rate']:.1f}")
    row("seconds of an answer: median, 99th of 100", f"{loaded['median']:.2f}, {loaded['p99']:.2f}")
    for name, memory in loaded["memory"].items():
        row(f"memory of the {name}: MB, growth", f"{memory['mb']:.0f}, {100 * memory['growth']:+.1f} %")
    killed = result["kill"]
    row("killed in an answer: it ends with", killed["failure"])
    row("next answer after", f"{killed['seconds_until_next_answer']:.1f} s")
    row("then", killed["then"])


def failed(result: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    counts, memory = result["load"]["counts"], result["load"]["memory"]
    wrong = [
        f"{name}: {count}" for name, count in counts.items() if name not in ("right", "rate_limit_exceeded")
    ]
    wrong += [
        f"memory of the {n} grew by {m['growth']:.1%}" for n, m in memory.items() if m["growth"] > STEADY
    ]
    if result["kill"]["failure"] != "model_crashed" or set(result["kill"]["then"]) != {"right"}:
        wrong.append(f"after the kill: {result['kill']}")
    return wrong


async def measured(
    session: pe.Session, bundle: Path, minutes: float, clients: int, queue: int
) -> dict[str, Any]:
    """All of it, against one server."""
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), split="train", count=PICTURES)
        pictures = [Image.open(path).convert("RGB") for path in sorted(Path(folder).glob("*.png"))]
    pool = questions(session, pictures)
    with serving(bundle, "--queue", str(queue)) as (server, port), watched() as usage:
        first = await ApiClient(port).ask(pool[0].body)  # loads the model
        assert first.text == pool[0].expected, first
        over = await overhead(session, port, pictures[0])
        loaded = await load(port, server.pid, pool, clients, 60 * minutes)
        killed = await kill(port, server.pid, pool)
    ordered = sorted(loaded.seconds)
    return {
        "overhead": over,
        "load": {
            "clients": clients,
            "seconds": loaded.time,
            "counts": dict(loaded.counts),
            "rate": len(ordered) / loaded.time,
            "median": median(ordered),
            "p99": ordered[int(0.99 * len(ordered))],
            "first": median(loaded.first),
            "memory": {
                name: {"mb": values[-1] / 1e6, "growth": loaded.growth(name)}
                for name, values in loaded.memory.items()
            },
        },
        "kill": killed,
        "noisy": usage.noisy,
    }


def main(
    bundle: Annotated[Path, typer.Argument(help="a bundle")],
    minutes: float = 5.0,
    clients: int = 100,
    queue: int = 64,
    as_json: Annotated[Path | None, typer.Option("--json", help="also write the figures here")] = None,
) -> None:
    """Measure, print a table, and end with exit code 1 where something is not as it should be."""
    session = pe.Session.open(bundle, pictures=pe.PictureCache())
    result = asyncio.run(measured(session, bundle, minutes, clients, queue))
    show(result)
    if as_json is not None:
        as_json.write_text(json.dumps(result, indent=2) + "\n")
    if wrong := failed(result):
        typer.echo("\n".join(wrong))
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
