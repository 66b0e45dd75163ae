"""What an answer's form costs: milliseconds per token beside those of a decoding step, form by form.

A form's are of the processor, so that other processes do not count; a decoding step is the quickest of ten.

python -m benchmarks.forms BUNDLE                      # of true dimensions, such as an export of bench/0.5b
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from phantom_edge.runtime.form import Form, within
from phantom_edge.runtime.sampling import greedy
from phantom_edge.runtime.session import Session
from phantom_edge.text.prompt_ids import PromptEncoder

TOKENS = 48
OBJECT = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "what": {"type": "string", "maxLength": 40},
    },
    "required": ["colour", "count", "what"],
    "additionalProperties": False,
}
FORMS = {
    "3 choices": Form(choices=["red", "green", "blue"]),
    "1,000 choices": Form(choices=[f"object {n} of the list" for n in range(1000)]),
    "`[0-9]{1,3} objects?`": Form(regex="[0-9]{1,3} objects?"),
    "`.{100,200}`": Form(regex=".{100,200}"),
    r"`(\w+ ?){1,60}\.`": Form(regex=r"(\w+ ?){1,60}\."),
    "a schema of three fields": Form(schema=OBJECT),
    "any JSON object": Form(schema=True),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of one form: to begin an answer, per token beyond a greedy choice, and of decoding steps."""

    begin: float
    tokens: np.ndarray
    steps: np.ndarray


def answers(session: Session, form: Form, rounds: int) -> Iterator[Cost]:
    """The cost of greedy answers to one question, cut after :data:`TOKENS` tokens."""
    prompts, ends = PromptEncoder(session.spec.template, session.tokenizer), session.spec.end_ids
    prompt = prompts.first("What is shown?")
    for _ in range(rounds):
        cache = session.backend.make_cache()
        logits = session.prefill(prompt, cache)
        clock = time.thread_time()
        constraint = form.begin(prompts, ends)
        begin, chosen, spent = time.thread_time() - clock, within(constraint, greedy), []

        waited: list[float] = []

        def choose(logits: np.ndarray, chosen=chosen, spent=spent, waited=waited) -> int:
            start, wall = time.thread_time(), time.perf_counter()
            greedy(logits)
            middle = time.thread_time()
            token = chosen(logits)
            spent.append((time.thread_time() - middle) - (middle - start))
            waited.append(time.perf_counter() - wall)
            return token

        steps = []
        for choice in itertools.islice(session.decode(logits, cache, choose), TOKENS):
            steps.append(choice.seconds - waited[-1])
            if choice.token in ends or constraint.complete:
                break
        yield Cost(begin, np.array(spent), np.array(steps[1:]))


def main(
    bundle: Annotated[Path, typer.Argument(help="a bundle of true dimensions")],
    rounds: Annotated[int, typer.Option(help="answers per form")] = 6,
    threads: int = 2,
) -> None:
    """Print a table."""
    session = Session.open(bundle, check=False, threads=threads)
    clock = time.thread_time()
    next(answers(session, FORMS["any JSON object"], 1))
    typer.echo(f"{session.tokenizer.vocab_size:,} pieces; first form {time.thread_time() - clock:.2f} s\n")
    typer.echo("| form | begin, ms | per token, ms | worst of 100 | decoding step, ms | share |")
    typer.echo("|---|--:|--:|--:|--:|--:|")
    everything = {name: list(answers(session, form, rounds)) for name, form in FORMS.items()}
    every_step = np.concatenate([cost.steps for costs in everything.values() for cost in costs])
    step = 1e3 * float(np.quantile(every_step, 0.1))
    for name, costs in everything.items():
        tokens = 1e3 * np.concatenate([cost.tokens for cost in costs])
        begin, mean, worst = (
            1e3 * np.median([c.begin for c in costs]),
            tokens.mean(),
            np.quantile(tokens, 0.99),
        )
        share = f"{100 * mean / step:.1f} %"
        typer.echo(f"| {name} | {begin:.2f} | {mean:.2f} | {worst:.2f} | {step:.1f} | {share} |")


if __name__ == "__main__":
    typer.run(main)
