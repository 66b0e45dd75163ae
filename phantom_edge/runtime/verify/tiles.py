"""Further sizes of tiles: the vision encoder of each runs on the picture of its own test, or a user's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.report.report import Check
from phantom_edge.runtime.traces import QUESTION, Prompt, default_images, prompt_of, prompts
from phantom_edge.runtime.verify import golden
from phantom_edge.runtime.verify.scope import Further
from phantom_edge.runtime.verify.subject import Broken, Subject, part


def at_the_bundles_size(bundle: Bundle, source: Pretrained) -> Pretrained:
    """The checkpoint with tiles of the size that a bundle was made for.

    Raises :class:`InputError` for a size that the checkpoint's patches do not give.
    """
    size = bundle.manifest.tiles.size
    if size == source.config.tile_size:
        return source
    try:
        return source.at_tile(size)
    except InputError as error:
        raise InputError(f"{bundle.folder}: {error}; export the bundle again") from None


def further(
    subject: Subject, room: int, image: Any, question: str | None
) -> tuple[list[Further], list[Check]]:
    """A prompt with tiles of each further size, of at most ``room`` tokens, and what is wrong with a test."""
    made: list[Further] = []
    checks: list[Check] = []
    for size in subject.further_tiles:
        recorded, own = _recorded(subject, size)
        checks += own
        if image is not None or question is not None:
            (prompt,) = prompts(subject.spec_at(size), subject.source.tokenizer, room, image, question)
            recorded = None
        else:
            prompt = _prompt(subject, size, recorded)
        if prompt.pixels is None:
            continue
        if len(prompt.ids) > room:
            checks.append(
                Check(f"tiles of {size} pixels", "not run", detail=f"no room for {len(prompt.ids)}")
            )
            continue
        made.append(Further(size, replace(prompt, name=f"{prompt.name} at {size}"), recorded))
    return made, checks


def _recorded(subject: Subject, size: int) -> tuple[Golden | None, list[Check]]:
    """The bundle's own test with tiles of a size, and whether it asks what the checkpoint's prompt asks."""
    name = f"{golden.INPUTS} at {size}"
    try:
        with part(name):
            recorded = Golden.read(subject.bundle.folder, size)
            prompt = golden.golden_prompt(subject, recorded, size)
            return recorded, [golden.inputs(subject, recorded, prompt, name)]
    except Broken as broken:
        return None, [broken.check]


def _prompt(subject: Subject, size: int, recorded: Golden | None) -> Prompt:
    if recorded is not None:
        return golden.golden_prompt(subject, recorded, size)
    picture = default_images(size)[golden.NAME]
    return prompt_of(subject.spec_at(size), subject.source.tokenizer, golden.NAME, QUESTION, picture)
