"""One session over every runtime: image and question in, streamed text out.

A :class:`Session` owns a backend and what the prompt needs; a :class:`Chat` is one context (an image and its
turns) with its cache, so that a second question on the same image costs neither the vision encoder nor a
second prefill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.backend import Backend, Trimmable
from phantom_edge.bundle.folder import TOKENIZER, Bundle
from phantom_edge.bundle.locate import locate
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import ContextError, InputError
from phantom_edge.images import load_image, pixel_values, tile_count
from phantom_edge.progress import Step, no_step
from phantom_edge.runtime import decoding
from phantom_edge.runtime.answer import Piece, Timing, finite, until
from phantom_edge.runtime.choices import Choices, Likelihood, likelihoods
from phantom_edge.runtime.confidence import Confidence
from phantom_edge.runtime.decoding import Choice
from phantom_edge.runtime.form import Constraint, Form, within
from phantom_edge.runtime.known_pictures import KnownPictures
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.sampling import Choose, Floats, Sampling, greedy
from phantom_edge.system.packages import needed
from phantom_edge.targets import format_for
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 256
CHECKPOINT_CONTEXT = 4096


class Session:
    """A model ready to answer, whatever runs it.

    With ``keep_vision=False`` the vision encoder's memory is given back after every picture, as the phone
    apps do it, where the backend can: right for one picture and many questions. The next picture loads it
    again, a third of a second for Phantom-0.5B's 300 MB. ``pictures`` knows what was seen before, and
    ``knows`` is what the model says of itself, None where it says nothing.

    >>> session = pe.Session.open("nano-desktop")
    >>> "".join(session.generate("How many objects are there?", image="photo.jpg"))
    '2'
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        spec: PromptSpec,
        *,
        keep_vision: bool = True,
        pictures: KnownPictures | None = None,
        knows: str | None = None,
    ):
        self.backend, self.tokenizer, self.spec = backend, tokenizer, spec
        self.keep_vision, self.pictures, self.knows = keep_vision, pictures, knows

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        check: bool = True,
        revision: str | None = None,
        tile_size: int | None = None,
        step: Step = no_step,
        keep_vision: bool = True,
        pictures: PictureCache | None = None,
        **options: Any,
    ) -> Session:
        """Open a bundle in its own runtime, or a checkpoint in torch: a folder, a Hub id, or None for Nano.

        ``check=False`` skips the SHA-256 of the bundle's files, ``step`` shows a download. ``revision`` is a
        branch, a tag or a commit of an id. ``tile_size`` is one of the sizes that a bundle has, or any that a
        checkpoint's patches give; None is its own.
        ``keep_vision=False`` loads the bundle's vision encoder for a picture and gives it back after it. A
        picture that ``pictures`` knows costs neither the encoder nor its part of the prompt. ``options`` go
        to the bundle's backend. Raises :class:`InputError`.

        >>> pe.Session.open(tile_size=128).spec.tokens_per_tile
        16
        """
        located = locate(model, revision=revision, step=step, check=check)
        if isinstance(located, Bundle):
            return cls.of_bundle(
                located, tile_size=tile_size, keep_vision=keep_vision, pictures=pictures, **options
            )
        return cls.of_source(located, tile_size=tile_size, pictures=pictures)

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        *,
        tile_size: int | None = None,
        keep_vision: bool = True,
        pictures: PictureCache | None = None,
        **options: Any,
    ) -> Session:
        """The runtime of an opened bundle's format, for tiles of one of its sizes; see :meth:`open`."""
        m, spec = bundle.manifest, PromptSpec.of_bundle(bundle, tile_size)
        if spec.tile_size != m.tiles.size:
            options["tile_size"] = tile_size
        kind = format_for(m.format)
        lazily = {"vision": False} if kind.trims and not keep_vision else {}
        backend = kind.load(bundle.folder, context=m.context, chunk=m.chunk, **lazily, **options)
        tokenizer = Tokenizer.from_file(bundle.folder / TOKENIZER)
        known = None if pictures is None else KnownPictures(pictures, backend, bundle.digest, options)
        return cls(backend, tokenizer, spec, keep_vision=keep_vision, pictures=known, knows=m.knows)

    @classmethod
    def of_source(
        cls,
        source: Pretrained,
        *,
        max_tiles: int | None = None,
        tile_size: int | None = None,
        pictures: PictureCache | None = None,
    ) -> Session:
        """The original model in torch."""
        with needed("give an ONNX bundle"):
            from phantom_edge.model.original import PhantomModel
            from phantom_edge.runtime.torch_backend import TorchBackend

        if tile_size is not None:
            source = source.at_tile(tile_size)
        context = min(CHECKPOINT_CONTEXT, source.config.decoder.max_context)
        backend = TorchBackend(PhantomModel(source.config, source.checkpoint), context, chunk=context)
        known = None if pictures is None else KnownPictures(pictures, backend, source.digest)
        spec = PromptSpec.of_source(source, folded=False, max_tiles=max_tiles)
        return cls(backend, source.tokenizer, spec, pictures=known, knows=source.knows)

    # --- steps ----------------------------------------------------------------------------------------------

    def encode_image(self, image: Any) -> Floats:
        """A path or PIL image to image tokens [N, hidden]."""
        return self._encode(self._pixels(image))

    def _pixels(self, image: Any) -> Floats:
        """Tiles [T, 3, S, S] of RGB in 0..1."""
        return pixel_values(load_image(image), tile_size=self.spec.tile_size, max_tiles=self.spec.max_tiles)

    def _encode(self, pixels: Floats) -> Floats:
        tokens = decoding.encode_tiles(self.backend, pixels)
        if not self.keep_vision:
            self.trim()
        return tokens

    def trim(self) -> None:
        """Give the vision encoder's memory back, where the backend can; the next picture loads it again."""
        if isinstance(self.backend, Trimmable):
            self.backend.trim()

    def image_tokens(self, image: Any) -> int:
        """How many tokens a picture will take, without encoding it."""
        width, height = load_image(image).size
        tiles = tile_count(width, height, tile_size=self.spec.tile_size, max_tiles=self.spec.max_tiles)
        return tiles * self.spec.tokens_per_tile

    def prefill(self, ids: list[int], cache: Any, image: Floats | None = None) -> Floats:
        """Continue ``cache`` with ``ids``: logits [vocab] of the last.

        Their image tokens are the rows of ``image`` [N, hidden], in order.

        Raises :class:`InputError`, before any work, when a new context does not begin with the folded first
        token, when the ids do not fit, or when their image tokens are not as many as the image's.
        """
        self._check(ids, cache.length, 0 if image is None else len(image))
        chunks = decoding.embed(self.backend, ids, image, self.spec.image_token_id)
        return decoding.prefill(self.backend, cache, chunks)

    def decode(
        self,
        logits: Floats,
        cache: Any,
        choose: Choose = greedy,
        now: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Choice]:
        """Tokens that follow a prefill's ``logits``, without end; see :func:`.decoding.generate`.

        Raises :class:`CheckError` for logits that are not finite: no token follows from them.
        """
        return decoding.generate(self.backend, cache, logits, finite(choose), now)

    def chat(self, image: Any = None, history: Sequence[tuple[str, str]] = ()) -> Chat:
        """A new context, about ``image`` (a path or a PIL image) if one is given.

        ``history`` are earlier questions with their answers, which the first question follows.

        >>> session = pe.Session.open("nano-desktop")
        >>> chat = session.chat("photo.jpg", history=[("How many objects are there?", "2")])
        >>> "".join(chat.ask("How many diamonds?"))
        '1'
        """
        return Chat(self, None if image is None else load_image(image), tuple(history))

    def generate(self, question: str, image: Any = None, **options: Any) -> Iterator[str]:
        """One question on a new context; ``options`` as in :meth:`Chat.ask`."""
        return self.chat(image).ask(question, **options)

    def _check(self, ids: list[int], length: int, image_rows: int, room: int = 0) -> None:
        """Raise :class:`InputError` unless ``ids`` may follow ``length`` cached tokens, ``room`` left."""
        first = self.spec.first_id
        if not ids:
            raise InputError("the prompt is empty; give at least one token")
        if length == 0 and first is not None and ids[0] != first:
            raise InputError(
                f"the prompt begins with token {ids[0]}, but this model was folded for prompts that begin "
                f"with {first} ({self.tokenizer.decode([first], skip_special=False)!r}); "
                "use the bundle's prompt template"
            )
        if length + len(ids) + room > self.backend.context:
            raise ContextError(
                f"the prompt needs {length + len(ids) + room} tokens, "
                f"the context holds {self.backend.context}; "
                "ask less, use fewer tiles (--max-tiles) or export with a larger --context"
            )
        image_ids = ids.count(self.spec.image_token_id)
        if image_ids != image_rows:
            raise InputError(f"the prompt has {image_ids} image tokens, the image {image_rows}")


@dataclass
class Chat:
    """One context: its cache, the ids in it, and the timing of the last answer.

    >>> chat = pe.Session.open("nano-desktop").chat("photo.jpg")
    >>> ["".join(chat.ask(question)) for question in ("How many objects are there?", "How many diamonds?")]
    ['2', '1']
    >>> chat.timing.vision, chat.timing.stop  # the second question does not encode the picture again
    (0.0, 'end')
    >>> chat.timing.confidence > 0.5  # how likely the model holds exactly this answer
    True
    """

    session: Session
    image: Any = None
    history: tuple[tuple[str, str], ...] = ()
    timing: Timing = field(default_factory=Timing)
    ids: list[int] = field(default_factory=list)
    _cache: Any = None
    _pending: list[int] = field(default_factory=list)  # a generated token that is not in the cache yet
    _open: bool = False  # a question was asked since the beginning or the last rewind
    _rewound: bool = False

    def ask(self, question: str, **options: Any) -> Iterator[str]:
        """Stream the answer to ``question`` as text; ``options`` and errors as in :meth:`pieces`."""
        return (piece.text for piece in self.pieces(question, **options))

    def pieces(
        self,
        question: str,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        stop: tuple[str, ...] = (),
        sampling: Sampling | None = None,
        form: Form | None = None,
    ) -> Iterator[Piece]:
        """Stream the answer with the tokens that it is made of; greedy unless ``sampling`` says otherwise.

        Ends at an end token, at a ``stop`` string (which is not part of the answer), after ``max_tokens`` or
        when the context is full; ``timing.stop`` says which. With a ``form`` every token is chosen from those
        that it allows, and the answer meets it if, and only if, it ended by ``end``. Bad input is refused
        here, before anything is computed.
        """
        if max_tokens < 1:
            raise InputError(f"max tokens is {max_tokens}; ask for at least one")
        prompt = self._prompt(question)
        self.session._check(prompt, len(self.ids) if self._open else 0, 0 if self._open else self._rows)
        constraint = None if form is None else form.begin(self._prompts, self.session.spec.end_ids)
        return self._answer(prompt, max_tokens, stop, sampling or Sampling(), constraint)

    def rank(self, question: str, choices: Sequence[str]) -> list[Likelihood]:
        """How likely each of ``choices`` is as the whole answer, the likeliest first; together they make 1.

        Exact, under the model's own softmax: the probability of a choice's tokens and of an end after them.
        Every token of a choice is one decoding step, beginnings that choices share once.

        The chat stays as it was: a question that follows is answered as if this one had not been. Raises
        :class:`InputError` before any work for bad choices, and where the longest does not fit.

        >>> chat = pe.Session.open("nano-desktop").chat("photo.jpg")
        >>> chat.rank("How many objects are there?", ["1", "2", "3"])[0].text
        '2'
        """
        prompts, spec = self._prompts, self.session.spec
        tree = Choices.of(Form(choices=choices).choices or (), prompts)
        prompt, length = self._prompt(question), len(self.ids) if self._open else 0
        self.session._check(prompt, length, 0 if self._open else self._rows, tree.longest)
        if not self._open:
            self.rewind()
        ids, pending, was_open = self.ids, self._pending, self._open
        self.timing = timing = Timing(prompt_tokens=len(prompt) - len(pending))
        try:
            logits, clock = self._prefill(prompt), time.perf_counter()
            shares = likelihoods(self.session.backend, self._cache, logits, tree, spec.end_ids)
            timing.decode, timing.stop = time.perf_counter() - clock, "end"
        finally:
            if was_open:
                self.ids, self._pending = ids, pending
            else:
                self.rewind()
        order = np.argsort(-shares, kind="stable")
        timing.new_tokens = len(tree.ids[order[0]])
        return [Likelihood(tree.texts[n], float(shares[n])) for n in order]

    def rewind(self) -> None:
        """Forget the questions and answers, but keep the picture: the next question is the first again.

        It costs neither the vision encoder nor the picture's part of the prompt. The prompt is then cut where
        the picture ends, also in a new chat, so that an answer does not depend on what was asked before it: a
        runtime may keep one range of activations per call.
        """
        self.ids = self.ids[: self._end_of_image(self.ids)]
        self._pending, self._open, self._rewound = [], False, True

    @property
    def _rows(self) -> int:
        return 0 if self.image is None else self.session.image_tokens(self.image)

    @property
    def _prompts(self) -> PromptEncoder:
        return PromptEncoder(self.session.spec.template, self.session.tokenizer)

    def _prompt(self, question: str) -> list[int]:
        """What is to be appended to the cache, or the whole of it for a first question."""
        if self._open:
            return [*self._pending, *self._prompts.next(question)]
        return self._prompts.conversation([*self.history, (question, None)], self._rows or None)

    def _end_of_image(self, ids: list[int]) -> int:
        """How many of ``ids`` belong to the picture and what stands before it; 0 without one."""
        image_id = self.session.spec.image_token_id
        return len(ids) - ids[::-1].index(image_id) if image_id in ids else 0

    def _answer(
        self,
        prompt: list[int],
        max_tokens: int,
        stop: tuple[str, ...],
        sampling: Sampling,
        constraint: Constraint | None,
    ) -> Iterator[Piece]:
        self.timing = Timing(prompt_tokens=len(prompt) - len(self._pending))
        logits = self._prefill(prompt)
        yield from until(stop, self._tokens(logits, max_tokens, sampling, constraint), self.timing)

    def _prefill(self, prompt: list[int]) -> Floats:
        """Bring a prompt into the cache, from where it goes on from what is there: logits [vocab]."""
        session, image = self.session, None
        if not self._open:
            if not self.ids or prompt[: len(self.ids)] != self.ids:
                image = self._begin(prompt)
            prompt = prompt[len(self.ids) :]
        clock = time.perf_counter()
        decoding.rewind(self._cache, len(self.ids))  # half a prompt may be left of a call that failed
        cut = self._end_of_image(prompt) if self._rewound else 0
        for part in filter(None, (prompt[:cut], prompt[cut:])):
            logits, image = session.prefill(part, self._cache, image), None
            self.ids = [*self.ids, *part]
        self._pending, self._open = [], True
        self.timing.prefill += time.perf_counter() - clock
        return logits

    def _begin(self, prompt: list[int]) -> Floats | None:
        """Begin a first prompt's cache; the picture's tokens, unless its part of the prompt is in it."""
        session, timing, clock = self.session, self.timing, time.perf_counter()
        self.ids, known = [], session.pictures
        if self.image is None or known is None:
            self._cache = session.backend.make_cache()
            image = None if self.image is None else session.encode_image(self.image)
            timing.vision = 0.0 if image is None else time.perf_counter() - clock
            return image
        head, pixels = prompt[: self._end_of_image(prompt)], session._pixels(self.image)
        timing.vision = time.perf_counter() - clock
        self._cache = known.begin(pixels, head, session.spec.image_token_id, session._encode, timing)
        self.ids = head
        return None

    def _tokens(
        self, logits: Floats, max_tokens: int, sampling: Sampling, constraint: Constraint | None
    ) -> Iterator[Piece]:
        """A piece per token. A token is appended to the cache when the next one is taken."""
        session, timing, stream = self.session, self.timing, self.session.tokenizer.stream()
        choose, confidence = within(constraint, sampling.chooser()), Confidence(session.spec.end_ids)
        for choice in session.decode(logits, self._cache, choose):
            token = choice.token
            self.ids, self._pending = [*self.ids, *self._pending], []
            timing.decode += choice.seconds
            if token in session.spec.end_ids:
                timing.stop, timing.confidence = "end", confidence.ended(choice.logits)
                break
            timing.new_tokens += 1
            confidence.add(choice.logits, token)
            self._pending = [token]
            yield Piece(stream.push(token), (choice,))
            if constraint is not None and constraint.complete:
                # The only token that may follow need not be computed.
                timing.stop, timing.confidence = "end", confidence.ended()
                break
            if timing.new_tokens == max_tokens:
                timing.stop = "length"
                break
            if self._cache.length == session.backend.context:
                timing.stop = "context"
                break
        yield Piece(stream.finish())
