"""How much of an artifact is run: which prompts, and how many tokens of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from phantom_edge.bundle.golden import Golden
from phantom_edge.runtime.traces import Prompt
from phantom_edge.runtime.verify.subject import Subject

GREEDY_TOKENS: Final = 64
EMULATED_TOKENS: Final = 16
"""Where an NPU is emulated: a token takes a good part of a second of a small model."""
LARGE: Final = 100_000_000
"""Parameters from which on one picture and few tokens are emulated: a tile takes ten minutes."""
LARGE_TOKENS: Final = 4


@dataclass(frozen=True)
class Further:
    """A prompt with tiles of a further size, which is the bundle's own test of it where ``golden`` is one."""

    size: int
    prompt: Prompt
    golden: Golden | None


@dataclass(frozen=True)
class Prompts:
    """What is run: the first of ``own`` is the bundle's own test where ``golden`` is its file.

    ``further`` are those with tiles of further sizes.
    """

    own: list[Prompt]
    golden: Golden | None = None
    further: tuple[Further, ...] = ()

    @property
    def all(self) -> list[Prompt]:
        """Every prompt, the further ones last."""
        return [*self.own, *(one.prompt for one in self.further)]

    def answers(self) -> list[Sequence[int]]:
        """What each run is given to append, before it chooses for itself."""
        answers: list[Sequence[int]] = [() for _ in self.own]
        if self.golden is not None:
            answers[0] = self.golden.generated_ids.tolist()
        tests = (one.golden for one in self.further)
        return answers + [() if test is None else test.generated_ids.tolist() for test in tests]


@dataclass(frozen=True)
class Scope:
    """How many greedy ``tokens`` are run per prompt, and whether every prompt is."""

    tokens: int
    every_prompt: bool = True

    @classmethod
    def of(cls, subject: Subject, tokens: int | None, *, every_prompt: bool) -> Scope:
        """What suits the bundle, unless ``tokens`` or ``every_prompt`` say more."""
        if not subject.artifact_format.npu:
            return cls(tokens or GREEDY_TOKENS)
        large = subject.source.checkpoint.parameters > LARGE
        default = LARGE_TOKENS if large else EMULATED_TOKENS
        return cls(tokens or default, every_prompt or not large)

    def chosen(self, prompts: Prompts) -> Prompts:
        """Those of ``prompts`` that are run."""
        return prompts if self.every_prompt else replace(prompts, own=prompts.own[:1])

    def fact(self, prompts: Prompts) -> dict[str, str]:
        """What the report says of prompts that are left out."""
        if self.every_prompt or len(prompts.all) < 2:
            return {}
        return {"emulated": f"one prompt, {self.tokens} tokens; more with --all-prompts and --tokens"}
