"""The answers of the original and of the artifact beside their pictures, for people to read."""

from __future__ import annotations

from collections.abc import Sequence

from phantom_edge.report.examples import MOST, Example, Reply, thumbnail
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import Trace
from phantom_edge.runtime.verify.subject import Subject

CUT = "…"


def examples(
    subject: Subject, references: Sequence[Reference], traces: Sequence[Trace], artifact: str
) -> list[Example]:
    """Each prompt with both answers, as far as they are known.

    Both were computed along the same tokens. From the first token on where a model would have gone another
    way, what it would have said is not known, and the text ends with that token and an ellipsis.
    """
    made = []
    for reference, trace in list(zip(references, traces, strict=True))[:MOST]:
        prompt = reference.prompt
        original = _answer(subject, reference.original[:-1].argmax(-1).tolist(), reference.tokens)
        own = _answer(subject, trace.logits[:-1].argmax(-1).tolist(), reference.tokens)
        same = original == own
        replies = (
            Reply("the original, fp32", original),
            Reply(artifact, own, same, "the same" if same else "differs"),
        )
        picture = "" if prompt.picture is None else thumbnail(prompt.picture)
        made.append(Example(prompt.question, picture, replies, prompt.name))
    return made


def conclusion(shown: Sequence[Example]) -> str:
    """How many of the answers are the same, in words."""
    same = sum(example.replies[-1].right is True for example in shown)
    return f"{same} of {len(shown)} answers are the original's" if shown else ""


def _answer(subject: Subject, choices: Sequence[int], tokens: Sequence[int]) -> str:
    """The text of a model's choices up to its end token, or up to where it leaves ``tokens``."""
    ids: list[int] = []
    end = CUT
    for choice, token in zip(choices, tokens, strict=True):
        if choice in subject.spec.end_ids:
            end = ""
            break
        ids.append(choice)
        if choice != token:
            break
    return subject.source.tokenizer.decode(ids).strip() + (f" {end}" if end else "")
