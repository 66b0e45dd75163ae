"""Text to ids and back, from a checkpoint's files, without running any of its code.

Every tokenizer ends up as one `tokenizers` tokenizer, whose JSON is what a bundle ships. Decoding is our own,
token by token; see `decoding`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from phantom_edge.errors import InputError, shown
from phantom_edge.system.native import quiet_native
from phantom_edge.system.reading import is_file, read_bytes, read_json, reading
from phantom_edge.text.decoding import TextDecoder, TextStream, leading_spaces
from phantom_edge.text.prompt import MARKER, PromptTemplate

TOKENIZER_JSON: Final = "tokenizer.json"
MAX_FILE_BYTES = 64 * 2**20
AGAIN: Final = "download it again"
MAX_IDS: Final = 1 << 20
_ADDED_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "special")


class Tokenizer:
    """A model's tokenizer: ids without BOS or anything else added, and text from ids.

    >>> tokenizer = pe.Pretrained.open().tokenizer
    >>> tokenizer.decode(tokenizer.encode("Describe the image"))
    'Describe the image'
    """

    def __init__(self, inner: RustTokenizer) -> None:
        inner.no_truncation()  # a tokenizer.json may carry the limits of somebody's training run
        inner.no_padding()
        self._inner = inner
        added = inner.get_added_tokens_decoder()
        self._special_ids = frozenset(index for index, token in added.items() if token.special)
        self.control_tokens: dict[int, str] = {
            index: token.content
            for index, token in sorted(added.items())
            if token.special or MARKER.fullmatch(token.content)
        }
        """Added tokens that no user's text may bring, by id: special ones, and what is written ``<so>``.

        Phi-3 lists ``</s>`` as not special, and it ends a text all the same.
        """
        self._size = 1 + max(inner.get_vocab(with_added_tokens=True).values(), default=-1)
        spec = json.loads(inner.to_str())
        unknown = spec["model"].get("unk_token")
        self.unknown_id = inner.token_to_id(unknown) if isinstance(unknown, str) else None
        """Of the token that stands for characters without one of their own; None where there is none."""
        self._decoder = TextDecoder.from_spec(spec["decoder"])

    @classmethod
    def from_checkpoint(cls, folder: str | Path) -> "Tokenizer":
        """Read a checkpoint folder's `tokenizer.json`, or convert its SentencePiece `tokenizer.model`.

        Tokens of `tokenizer_config.json` (`added_tokens_decoder`) and `added_tokens.json` are included. An
        `auto_map` is ignored: it names code, and a checkpoint's code is never run.

        Raises :class:`InputError`: there is neither file, one is broken, or the conversion is not exact.
        """
        folder = Path(folder)
        added = _added_tokens(folder)
        if is_file(folder / TOKENIZER_JSON):
            tokenizer = cls.from_file(folder / TOKENIZER_JSON)
            tokenizer._add_missing(added)
            return cls(tokenizer._inner)
        if is_file(folder / "tokenizer.model"):
            # SentencePiece is needed for these checkpoints only: a bundle carries the converted file.
            from phantom_edge.text.sentencepiece import SentencePieceModel, convert

            path = folder / "tokenizer.model"
            model = SentencePieceModel.from_bytes(read_bytes(path, MAX_FILE_BYTES, AGAIN))
            with reading(path, AGAIN, "cannot be converted"):
                return cls(convert(model, added))
        raise InputError(f"{folder} has neither tokenizer.json nor tokenizer.model: download all of it")

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json`.

        Raises:
            InputError: missing, over `MAX_FILE_BYTES`, not JSON, or not a tokenizer that can be decoded.
        """
        return cls.from_spec(read_json(Path(path), MAX_FILE_BYTES, AGAIN), path)

    @classmethod
    def from_spec(cls, data: dict[str, Any], path: str | Path = TOKENIZER_JSON) -> "Tokenizer":
        """The tokenizer of a `tokenizer.json`'s contents; ``path`` is named where they are wrong.

        Raises :class:`InputError`: they are not a tokenizer that can be decoded.
        """
        with reading(path, AGAIN, "is not a tokenizer"):
            model, added = data.get("model"), data.get("added_tokens")
            vocabulary = model.get("vocab") if isinstance(model, dict) else None
            _check_ids(vocabulary.values() if isinstance(vocabulary, dict) else ())
            _check_ids(token.get("id") for token in added or ())
            with quiet_native():  # a panic of the library writes lines of its own
                inner = RustTokenizer.from_str(json.dumps(data))
            return cls(inner)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id, added tokens included."""
        return self._size

    def encode(self, text: str) -> list[int]:
        """Ids of `text`. Nothing is put before or after; a token's own text in it becomes that token.

        Raises :class:`InputError`: the text is not valid Unicode (a lone surrogate).
        """
        with reading("the text cannot be tokenized", "it must be valid Unicode"):
            return self._inner.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text as :meth:`encode` makes them, several at a time."""
        with reading("a text cannot be tokenized", "it must be valid Unicode"):
            encodings = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
            return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of `ids`: bytes that form no character become U+FFFD, ids without a token nothing."""
        stream = self.stream(skip_special)
        return "".join([*map(stream.push, ids), stream.finish()])

    def stream(self, skip_special: bool = True) -> TextStream:
        """A new stream: `push(id)` gives the text certain by then, `finish()` the rest; joined, `decode`."""
        skipped = self._special_ids if skip_special else frozenset()
        return TextStream(self._decoder, self._inner.id_to_token, skipped)

    def bytes_of(self, index: int) -> bytes:
        """The bytes of a token's text, which may be part of a character; none for an id without a token."""
        token = self._inner.id_to_token(index)
        return b"" if token is None else self._decoder.to_bytes(token)

    def token_id(self, text: str) -> int | None:
        """Id of the token written exactly so, None when there is none."""
        return self._inner.token_to_id(text)

    def token_bytes(self) -> list[bytes]:
        """The bytes that each id writes; none for a control token, and for an id without a token.

        >>> pe.Pretrained.open().tokenizer.token_bytes()[pe.Pretrained.open().tokenizer.encode("red")[0]]
        b'red'
        """
        written = [b""] * self._size
        for token, index in self._inner.get_vocab(with_added_tokens=True).items():
            if index not in self.control_tokens:
                written[index] = self._decoder.to_bytes(token)
        return written

    @property
    def dropped_spaces(self) -> int:
        """How many spaces at the very beginning of a text do not appear in it."""
        return self._decoder.strip_spaces

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json` that stock tokenizers read with the same result.

        A decoder's `Strip` at the start of a text is written as a replacement. ExecuTorch's runner decodes
        token by token, so that `Strip` would take the space of every word and break long characters.
        """
        data = json.loads(self._inner.to_str())
        for step in data["decoder"].get("decoders", []):
            match step:
                case {"type": "Strip", "content": " ", "start": start, "stop": 0} if start:
                    step.clear()
                    pattern = {"Regex": leading_spaces(start)}
                    step.update({"type": "Replace", "pattern": pattern, "content": ""})
        return json.dumps(data, ensure_ascii=False)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    def _add_missing(self, added: dict[int, AddedToken]) -> None:
        for index, token in sorted(added.items()):
            known = self.token_id(token.content)
            if known is None:
                self._inner.add_tokens([token])
                known = self.token_id(token.content)
            if known != index:
                ids = f"id {known} in tokenizer.json, {index} beside it"
                raise InputError(f"token {shown(token.content)} has {ids}: download it again")


def check_model_tokens(
    tokenizer: Tokenizer,
    *,
    image_token_id: int,
    end_ids: Iterable[int],
    template: PromptTemplate,
    vocab_size: int | None = None,
) -> None:
    """Check that a tokenizer fits the model it comes with.

    Args:
        image_token_id: `image_token_index` of the model's config.
        end_ids: the ids that end an answer.
        vocab_size: rows of the embedding table; None leaves that unchecked.

    Raises :class:`InputError`: a marker of the template is not a single token, the image token has another
    id, an end id has no token, or an id lies outside the vocabulary.
    """
    for marker in template.special_strings:
        if tokenizer.encode(marker) != [tokenizer.token_id(marker)]:
            raise InputError(f"no single token for {marker}: the tokenizer is of no {template.name} model")
    token_id = tokenizer.token_id(template.image_context)
    if token_id != image_token_id:
        ids = f"token {token_id}, but the config's image_token_index is {image_token_id}"
        raise InputError(f"{template.image_context} is {ids}: use the files of one checkpoint")
    if vocab_size is not None and tokenizer.vocab_size > vocab_size:
        sizes = f"ids up to {tokenizer.vocab_size - 1}, the model only {vocab_size} embeddings"
        raise InputError(f"the tokenizer has {sizes}: use the files of one checkpoint")
    if odd := [index for index in end_ids if not 0 <= index < tokenizer.vocab_size]:
        raise InputError(f"end token ids {odd} are not in the tokenizer: mend eos_token_id")


def _added_tokens(folder: Path) -> dict[int, AddedToken]:
    """Tokens listed beside the tokenizer, by id; `tokenizer_config.json` has flags, the other names."""
    path, older = folder / "tokenizer_config.json", folder / "added_tokens.json"
    settings = read_json(path, MAX_FILE_BYTES, AGAIN) if is_file(path) else {}
    listed = settings.get("added_tokens_decoder", {})
    named = read_json(older, MAX_FILE_BYTES, AGAIN) if is_file(older) else {}
    with reading(folder, "download tokenizer_config.json again", "its added tokens are malformed"):
        _check_ids([*map(int, listed), *map(int, named.values())])
        tokens = {int(index): _added_token(**entry) for index, entry in listed.items()}
        for content, index in named.items():
            known = tokens.setdefault(int(index), _added_token(content, special=True))
            if known.content != content:
                names = f"{shown(known.content)} and {shown(content)}"
                raise InputError(f"token {index} of {folder} is {names}: mend {older.name}")
        return tokens


def _check_ids(ids: Iterable[int]) -> None:
    """Raise ValueError for an id that no model has: the tokenizers library keeps a place for each below."""
    if odd := [index for index in ids if not 0 <= index < MAX_IDS]:
        raise ValueError(f"id {shown(odd[0])} is not below {MAX_IDS}")


def _added_token(content: str, **flags: object) -> AddedToken:
    if not content:
        raise ValueError("a token without text")
    # Never `normalized`: the published tokenizer looks for these tokens in the text as it is.
    chosen = {flag: bool(flags.get(flag, False)) for flag in _ADDED_TOKEN_FLAGS}
    return AddedToken(content, normalized=False, **chosen)
