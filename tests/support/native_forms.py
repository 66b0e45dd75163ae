"""Answers of a form, worked out the long way, for the Swift and Kotlin libraries to compare with.

``forms.json``: the shared patterns; greedy answers among a list of texts, found by trying every token of the
vocabulary; and the likelihood of choices, each computed by itself on a cache of its own.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phantom_edge.runtime.session import Session
from phantom_edge.text.prompt_ids import PromptEncoder

PATTERNS = Path(__file__).with_name("form_vectors.json")
DIGITS = [f"{number:0{width}}" for width in (1, 2) for number in range(10**width)]
COLOURS = ["red", "reddish", "blue", "dark blue", "dark green", "green"]

# Question, whether it is about the picture, the pattern (none: choices) and every text that it matches.
QUESTIONS: tuple[tuple[str, bool, str | None, list[str]], ...] = (
    ("What colour is it?", True, None, COLOURS),
    ("Is it red?", False, None, ["yes", "no"]),
    ("Is it red?", True, "yes|no|not sure", ["yes", "no", "not sure"]),
    ("How many?", True, r"\d{1,2}", DIGITS),
    ("Which size?", False, r"(small|large) ?[AB]?", ["".join(parts) for parts in product(
        ("small", "large"), ("", " "), ("", "A", "B"))]),
    ("Et la couleur ?", False, None, ["çà", "çb", "😀", "😁!", "é"]),
)  # fmt: skip


def write_forms(folder: Path, session: Session, picture: Any) -> None:
    """Write ``forms.json``; ``picture`` [H, W, 3] is the one that the transcripts have as ``image.1``."""
    image = Image.fromarray(picture)
    cases = []
    for question, seen, pattern, texts in QUESTIONS:
        prompt = _Prompt(session, question, image if seen else None)
        case = {"question": question, "image": seen, "pattern": pattern, "texts": texts}
        case["ids"], case["answer"] = prompt.choose(texts) if pattern is None else prompt.spell(texts)
        case["confidence"] = prompt.confidence(case["ids"])
        if pattern is None:
            case["probabilities"] = prompt.likelihoods(texts)
        cases.append(case)
    content = {"shared": json.loads(PATTERNS.read_text(encoding="utf-8")), "cases": cases}
    (folder / "forms.json").write_text(json.dumps(content), encoding="utf-8")


class _Prompt:
    """A question behind which answers are tried, each on a cache of its own."""

    def __init__(self, session: Session, question: str, image: Any):
        self.session = session
        encoder = PromptEncoder(session.spec.template, session.tokenizer)
        self.tokens = None if image is None else session.encode_image(image)
        self.ids = encoder.first(question, None if self.tokens is None else len(self.tokens))
        self.ends = list(session.spec.end_ids)
        self.must_end = False
        """Whether nothing but an end may follow the answer that was tried last."""

    def logits(self, answer: list[int]) -> np.ndarray:
        """Behind each token of the prompt's last and of ``answer``: [1 + answer, vocab] in float64."""
        cache = self.session.backend.make_cache()
        rows = [self.session.prefill(self.ids, cache, self.tokens)]
        rows += [self.session.prefill([token], cache) for token in answer]
        return np.array(rows, dtype=np.float64)

    def tokens_of(self, text: str) -> list[int]:
        """As they stand behind the prompt."""
        encode, start = self.session.tokenizer.encode, self.session.spec.template.assistant_start
        whole, before = encode(start + text), encode(start)
        return whole[len(before) :] if whole[: len(before)] == before else encode(text)

    def choose(self, texts: list[str]) -> tuple[list[int], str]:
        """The likeliest token by token among those with which a choice goes on."""
        tokens = [self.tokens_of(text) for text in texts]
        chosen: list[int] = []
        while True:
            begun = [ids for ids in tokens if ids[: len(chosen)] == chosen]
            allowed = {ids[len(chosen)] for ids in begun if len(ids) > len(chosen)}
            allowed |= set(self.ends) if chosen in begun else set()
            best = self._best(chosen, allowed)
            if best in self.ends:
                self.must_end = allowed <= set(self.ends)
                return chosen, texts[tokens.index(chosen)]
            chosen.append(best)

    def spell(self, texts: list[str]) -> tuple[list[int], str]:
        """The likeliest token by token among those after which one of ``texts`` can still come."""
        size = self.session.tokenizer.vocab_size
        ordinary = [id for id in range(size) if id not in self.session.tokenizer.control_tokens]
        chosen: list[int] = []
        while True:
            text = self._text(chosen)
            longer = [self._text([*chosen, id]) for id in ordinary]
            allowed = {
                id
                for id, after in zip(ordinary, longer, strict=True)
                if len(after) > len(text) and any(other.startswith(after) for other in texts)
            }
            allowed |= set(self.ends) if text in texts else set()
            best = self._best(chosen, allowed)
            if best in self.ends:
                self.must_end = allowed <= set(self.ends)
                return chosen, text
            chosen.append(best)

    def confidence(self, ids: list[int]) -> float | None:
        """The softmax along the answer's tokens and its end, certain where nothing else may follow."""
        if len(ids) > 12:
            return None
        odds = np.exp(self.logits(ids))
        odds /= odds.sum(-1, keepdims=True)
        steps = [odds[place, id] for place, id in enumerate(ids)]
        return float(np.prod(steps) * (1 if self.must_end else odds[-1, self.ends].sum()))

    def likelihoods(self, texts: list[str]) -> list[float]:
        """The softmax along each choice's tokens and an end behind them, over that of all."""
        likelihoods = []
        for text in texts:
            ids = self.tokens_of(text)
            rows = self.logits(ids)
            odds = np.exp(rows - rows.max(-1, keepdims=True))
            odds /= odds.sum(-1, keepdims=True)
            steps = [odds[place, id] for place, id in enumerate(ids)]
            likelihoods.append(float(np.prod(steps) * odds[-1, self.ends].sum()))
        return [likelihood / sum(likelihoods) for likelihood in likelihoods]

    def _best(self, chosen: list[int], allowed: set[int]) -> int:
        last = self.logits(chosen)[-1]
        return max(sorted(allowed), key=lambda id: last[id])

    def _text(self, ids: list[int]) -> str:
        stream = self.session.tokenizer.stream()
        return "".join(stream.push(id) for id in ids)
