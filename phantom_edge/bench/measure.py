"""Timing one session in this process: a :class:`~phantom_edge.runtime.session.Session`'s own steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from phantom_edge.bench import machine
from phantom_edge.bench.energy import NONE, EnergyCounter
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.bench.task import Task, filler
from phantom_edge.images import load_image, pixel_values
from phantom_edge.progress import Step
from phantom_edge.runtime.decoding import NO_LOGITS, encode_tiles, forced
from phantom_edge.runtime.sampling import greedy
from phantom_edge.runtime.session import Session

WINDOW = 2.0  # seconds of generating per point of a soak's curve, at least
SOAK_POINTS = 200  # of a long soak
SOAK_TOKENS = 256  # generated per answer while soaking, then the prompt again, as in use


def measure(session: Session, task: Task, settings: Settings, run: Run, step: Step) -> None:
    """Add to ``run`` the rows of one process: the first token with its parts, and decoding at every depth."""
    total = settings.warmup + settings.repeats
    for n in range(total):
        step(f"first token, {n + 1} of {total}")
        parts = first_token(session, task, settings.clock)
        if n >= settings.warmup:
            for key, seconds in parts.items():
                run.add(key, seconds)
    for depth in settings.fitting(session.backend.context):
        step(f"decoding at {depth} cached tokens")
        run.add(f"decode@{depth}", *(1 / seconds for seconds in decode_steps(session, depth, settings)))


def first_token(session: Session, task: Task, clock: str = "wall") -> dict[str, float]:
    """Seconds until the first token is chosen, and of its three parts; the cache is made before."""
    now, cache = machine.CLOCKS[clock], session.backend.make_cache()
    marks = [now()]
    spec = session.spec
    pixels = pixel_values(load_image(task.picture), tile_size=spec.tile_size, max_tiles=spec.max_tiles)
    marks.append(now())
    features = encode_tiles(session.backend, pixels)  # [T * N, hidden]
    marks.append(now())
    greedy(session.prefill(list(task.ids), cache, features))
    marks.append(now())
    names = ("preprocess", "vision", "prefill")
    parts = {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}
    return {"first_token": marks[-1] - marks[0], **parts}


def decode_steps(session: Session, depth: int, settings: Settings) -> list[float]:
    """Seconds of each generated token (embedding, decoder, greedy choice) after ``depth`` cached ones."""
    cache, ids = session.backend.make_cache(), filler(session, depth + 1)
    logits = session.prefill(ids[:depth], cache) if depth else NO_LOGITS
    choices = session.decode(logits, cache, forced(ids[depth:]), machine.CLOCKS[settings.clock])
    first = 1 + settings.warm_steps  # the token that is given, and those that warm up
    return [choice.seconds for choice in islice(choices, first, first + settings.steps)]


def soak(session: Session, task: Task, minutes: float, run: Run, step: Step) -> None:
    """Answer again and again for so many minutes: tokens per second, temperature and energy over time."""
    counter, begin = EnergyCounter.find(), time.perf_counter()
    window, end = max(WINDOW, 60 * minutes / SOAK_POINTS), begin + 60 * minutes
    points: list[tuple[float, float]] = []
    warmth: list[tuple[float, float]] = []
    tokens, busy, joules = 0, 0.0, counter.joules() if counter else 0.0
    total = 0
    for seconds in _answers(session, task):
        tokens, total, busy, now = tokens + 1, total + 1, busy + seconds, time.perf_counter()
        if busy >= window or now >= end:
            points.append((now - begin, tokens / busy))
            if (degrees := machine.temperature()) is not None:
                warmth.append((now - begin, degrees))
            if counter:
                counter.joules()  # at every point, so that no turn of the counter is missed
            step(f"soaking, {(now - begin) / 60:.1f} of {minutes:g} minutes, {tokens / busy:.1f} tok/s")
            tokens, busy = 0, 0.0
        if now >= end:
            break
    run.curves["soak"] = points
    if warmth:
        run.curves["temperature"] = warmth
    if counter:
        run.add("energy", (counter.joules() - joules) / total)
        run.notes.append("energy is the processor package's over the soak, prefill and idle power included")
    else:
        run.missing["energy"] = NONE


def _answers(session: Session, task: Task) -> Iterator[float]:
    """Seconds of each generated token of endless answers to the same prompt."""
    features = session.encode_image(task.picture)
    while True:
        cache = session.backend.make_cache()
        choices = session.decode(session.prefill(list(task.ids), cache, features), cache)
        tokens = min(SOAK_TOKENS, session.backend.context - cache.length)
        yield from (choice.seconds for choice in islice(choices, 1, 1 + tokens))
