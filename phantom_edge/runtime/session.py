"""One session over every runtime: image and question in, streamed text out.

A :class:`Session` owns a backend and what the prompt needs; a :class:`Chat` is one context (an image and its
turns) with its cache, so that a second question on the same image costs neither the vision encoder nor a
second prefill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.backend import Backend
from phantom_edge.bundle.folder import TOKENIZER, Bundle, is_bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.images import DEFAULT_MAX_TILES, load_image, pixel_values, tile_count
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.targets import format_for
from phantom_edge.text.prompt import PromptTemplate
from phantom_edge.text.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 256
CHECKPOINT_CONTEXT = 4096


@dataclass(frozen=True)
class PromptSpec:
    """What a prompt is made of, besides the text: the same facts from a checkpoint and from a bundle's
    manifest.

    ``first_id`` is the folded first token, or None when the model finds its state at run time.
    """

    template: PromptTemplate
    image_token_id: int
    end_ids: tuple[int, ...]
    first_id: int | None
    tile_size: int
    tokens_per_tile: int
    max_tiles: int

    @classmethod
    def of_source(cls, source: Pretrained, *, folded: bool, max_tiles: int | None = None) -> PromptSpec:
        """What a checkpoint's prompts are made of; ``max_tiles`` None takes what it was trained with."""
        c = source.config
        max_tiles = max_tiles or min(DEFAULT_MAX_TILES, c.max_tiles or DEFAULT_MAX_TILES)
        first = source.first_id if folded else None
        return cls(
            source.template, c.image_token_id, c.end_ids, first, c.tile_size, c.tokens_per_tile, max_tiles
        )

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> PromptSpec:
        ids, tiles = bundle.manifest["ids"], bundle.manifest["tiles"]
        try:
            return cls(
                bundle.template,
                ids["image"],
                tuple(ids["end"]),
                ids["first"],
                tiles["size"],
                tiles["tokens"],
                tiles["max"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{bundle.folder}: the manifest lacks {error}; export the bundle again"
            ) from None


@dataclass
class Timing:
    """Seconds and counts of one answer; ``stop`` says why it ended: ``end``, ``length``, ``context`` or
    ``stop``.
    """

    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    stop: str = ""

    @property
    def first_token(self) -> float:
        """Time to the first token."""
        return self.vision + self.prefill


class Session:
    """A model ready to answer, whatever runs it.

    >>> session = pe.Session.open("nano-desktop")
    >>> "".join(session.generate("How many objects are there?", image="photo.jpg"))
    '2'
    """

    def __init__(self, backend: Backend, tokenizer: Tokenizer, spec: PromptSpec):
        self.backend, self.tokenizer, self.spec = backend, tokenizer, spec

    @classmethod
    def open(cls, model: str | Path | None = None, *, check: bool = True, **options) -> Session:
        """Open a bundle's folder in its own runtime, or a checkpoint (folder, Hub id, None for Nano) in
        torch.

        ``check=False`` skips the SHA-256 of the bundle's files. ``options`` go to the bundle's backend.
        """
        if model is not None and is_bundle(model):
            return cls.of_bundle(Bundle.open(model, check=check), **options)
        return cls.of_source(Pretrained.open(model))

    @classmethod
    def of_bundle(cls, bundle: Bundle, **options) -> Session:
        """The runtime of an opened bundle's format."""
        m = bundle.manifest
        backend = format_for(m["format"]).load(
            bundle.folder, context=m["context"], chunk=m["chunk"], **options
        )
        return cls(backend, Tokenizer.from_file(bundle.folder / TOKENIZER), PromptSpec.of_bundle(bundle))

    @classmethod
    def of_source(cls, source: Pretrained, *, max_tiles: int | None = None) -> Session:
        """The original model in torch."""
        from phantom_edge.model.original import PhantomModel
        from phantom_edge.runtime.torch_backend import TorchBackend

        context = min(CHECKPOINT_CONTEXT, source.config.decoder.max_context)
        backend = TorchBackend(PhantomModel(source.config, source.checkpoint), context, chunk=context)
        return cls(backend, source.tokenizer, PromptSpec.of_source(source, folded=False, max_tiles=max_tiles))

    # --- steps ----------------------------------------------------------------------------------------------

    def encode_image(self, image: Any) -> np.ndarray:
        """A path or PIL image to image tokens [N, hidden]."""
        pixels = pixel_values(load_image(image), tile_size=self.spec.tile_size, max_tiles=self.spec.max_tiles)
        return np.concatenate(list(self.backend.encode_image(pixels)))

    def image_tokens(self, image: Any) -> int:
        """How many tokens a picture will take, without encoding it."""
        width, height = load_image(image).size
        tiles = tile_count(width, height, tile_size=self.spec.tile_size, max_tiles=self.spec.max_tiles)
        return tiles * self.spec.tokens_per_tile

    def prefill(self, ids: list[int], cache: Any, image: np.ndarray | None = None) -> np.ndarray:
        """Continue ``cache`` with ``ids``, image tokens taken from ``image`` [N, hidden] in order: logits
        [vocab].

        Raises :class:`InputError`, before any work, when a new context does not begin with the folded first
        token, when the ids do not fit, or when their image tokens are not as many as the image's.
        """
        self._check(ids, cache.length, 0 if image is None else len(image))
        start = taken = 0
        while start < len(ids):
            part = np.array([ids[start : start + self.backend.chunk]], dtype=np.int64)
            embeds = np.array(self.backend.embed(part))
            places = part[0] == self.spec.image_token_id
            if places.any():
                embeds[0, places] = image[taken : taken + places.sum()]
                taken += int(places.sum())
            logits = self.backend.decode(embeds, cache)
            start += part.shape[1]
        return logits

    def decode(self, token: int, cache: Any) -> np.ndarray:
        """Continue ``cache`` with one generated token: logits [vocab]."""
        return self.backend.decode(self.backend.embed(np.array([[token]], dtype=np.int64)), cache)

    def chat(self, image: Any = None) -> Chat:
        """A new context, about ``image`` (a path or a PIL image) if one is given."""
        return Chat(self, None if image is None else load_image(image))

    def generate(self, question: str, image: Any = None, **options) -> Iterator[str]:
        """One question on a new context; ``options`` as in :meth:`Chat.ask`."""
        return self.chat(image).ask(question, **options)

    def _check(self, ids: list[int], held: int, image_rows: int) -> None:
        first = self.spec.first_id
        if not ids:
            raise InputError("the prompt is empty; give at least one token")
        if held == 0 and first is not None and ids[0] != first:
            raise InputError(
                f"the prompt begins with token {ids[0]}, but this model was folded for prompts that begin "
                f"with {first} "
                f"({self.tokenizer.decode([first], skip_special=False)!r}); use the bundle's prompt template"
            )
        if held + len(ids) > self.backend.context:
            raise InputError(
                f"the prompt needs {held + len(ids)} tokens, the context holds {self.backend.context}; "
                "ask less, use fewer tiles (--max-tiles) or export with a larger --context"
            )
        wanted = ids.count(self.spec.image_token_id)
        if wanted != image_rows:
            raise InputError(f"the prompt has {wanted} image tokens, the image {image_rows}")


@dataclass
class Chat:
    """One context: its cache, the ids it holds, and the timing of the last answer.

    >>> chat = pe.Session.open("nano-desktop").chat("photo.jpg")
    >>> ["".join(chat.ask(question)) for question in ("How many objects are there?", "How many diamonds?")]
    ['2', '1']
    >>> chat.timing.vision, chat.timing.stop  # the second question does not encode the picture again
    (0.0, 'end')
    """

    session: Session
    image: Any = None
    timing: Timing = field(default_factory=Timing)
    ids: list[int] = field(default_factory=list)
    _cache: Any = None
    _pending: list[int] = field(default_factory=list)

    def ask(
        self,
        question: str,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        stop: tuple[str, ...] = (),
        sampling: Sampling | None = None,
    ) -> Iterator[str]:
        """Stream the answer to ``question`` as pieces of text; greedy unless ``sampling`` says otherwise.

        Ends at an end token, at a ``stop`` string (which is not part of the answer), after ``max_tokens`` or
        when the context is full; ``timing.stop`` says which. Bad input is refused here, before anything is
        computed.
        """
        if max_tokens < 1:
            raise InputError(f"max tokens is {max_tokens}; ask for at least one")
        prompt = self._prompt(question)
        self.session._check([*self._pending, *prompt], len(self.ids), self._rows if not self.ids else 0)
        return self._answer(prompt, max_tokens, stop, sampling or Sampling())

    @property
    def _rows(self) -> int:
        return 0 if self.image is None else self.session.image_tokens(self.image)

    def _prompt(self, question: str) -> list[int]:
        template, encode = self.session.spec.template, self.session.tokenizer.encode
        if self.ids:
            return encode(template.render_next(question))
        return encode(template.render([(question, None)], self._rows or None))

    def _answer(
        self, prompt: list[int], max_tokens: int, stop: tuple[str, ...], sampling: Sampling
    ) -> Iterator[str]:
        session, self.timing = self.session, Timing(prompt_tokens=len(prompt))
        image, clock = None, time.perf_counter()
        if not self.ids:
            self._cache = session.backend.make_cache()
            if self.image is not None:
                image = session.encode_image(self.image)
                self.timing.vision = time.perf_counter() - clock
        clock = time.perf_counter()
        prompt = [*self._pending, *prompt]
        logits = session.prefill(prompt, self._cache, image)
        self.ids, self._pending = [*self.ids, *prompt], []
        self.timing.prefill = time.perf_counter() - clock
        yield from _until(stop, self._tokens(logits, max_tokens, sampling), self.timing)

    def _tokens(self, logits: np.ndarray, max_tokens: int, sampling: Sampling) -> Iterator[str]:
        """Pieces of text, one per token. A token is appended to the cache when the next one is wanted."""
        session, stream, choose = self.session, self.session.tokenizer.stream(), sampling.chooser()
        while True:
            token = choose(logits)
            if token in session.spec.end_ids:
                self.timing.stop = "end"
                break
            self.timing.new_tokens += 1
            self._pending = [token]
            yield stream.push(token)
            if self.timing.new_tokens == max_tokens:
                self.timing.stop = "length"
                break
            if self._cache.length == session.backend.context:
                self.timing.stop = "context"
                break
            clock = time.perf_counter()
            logits = session.decode(token, self._cache)
            self.ids, self._pending = [*self.ids, token], []
            self.timing.decode += time.perf_counter() - clock
        yield stream.finish()


def _until(stops: tuple[str, ...], pieces: Iterator[str], timing: Timing) -> Iterator[str]:
    """Pass pieces on up to the first stop string, holding back what could be its beginning."""
    held = ""
    for piece in pieces:
        held += piece
        found = min((held.find(stop) for stop in stops if stop in held), default=-1)
        if found >= 0:
            timing.stop = "stop"
            yield held[:found]
            return
        keep = max((n for stop in stops for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        ready, held = held[: len(held) - keep], held[len(held) - keep :]
        if ready:
            yield ready
    if held:
        yield held
