"""A SentencePiece BPE model as a `tokenizers` tokenizer, checked against SentencePiece each time it is made.

The published 1.8B and 7B come with a `tokenizer.model`. Their tokenizer cuts the text at the added tokens
first and gives each piece between them to SentencePiece by itself, so that every piece gets its own leading
space. A `tokenizers` normalizer is applied to those same pieces, so an exact translation is possible.

Exact for models with the identity normalizer, as InternLM's is. A model with a character map (NFKC) is
translated to replacements (`charsmap`), which differ from SentencePiece on a combining mark after a character
that the map makes several of.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2, set_min_log_level
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from phantom_edge.errors import InputError, shown
from phantom_edge.text.charsmap import replacements
from phantom_edge.text.decoding import MANY_SPACES, leading_spaces

SPACE = "\u2581"
_BPE = 2  # TrainerSpec.ModelType
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5  # ModelProto.SentencePiece.Type
_ERROR = 2  # SentencePiece's log level
_NUL = "\0"  # old versions of SentencePiece give a piece of this name, new ones its byte: no text needs it
_PRIVATE_USE = 0xF0000
_MAX_PIECE = 512  # characters; trainers stop at 16, and merges take the square of it
_MAX_ADDED = 2048  # every piece is looked through for every added token
_CHECKED_PIECES = 4096  # about as many take seconds
_TEXT_START, _TEXT_END = r"(?<![\s\S])", r"(?![\s\S])"  # \A and \z, in words that every regex engine knows

SAMPLES = (
    "Describe the image in detail",
    "What is 2+2? Answer briefly.",
    " one leading space",
    "   three leading,  two inside,    four, and two trailing  ",
    " ",
    "     ",
    "\n",
    "\n\n  indented\n\ttabbed\r\nlast line\n",
    "0123456789 3.14159 1,000,000 2024-09-19 -17 1e-4 x\u00b2 \u00bd",
    "def f(x):\n    return {'a': [x ** 2, None], \"b\": f'{x!r}'}  # done\n",
    "na\u00efve caf\u00e9, cafe\u0301, \u00c5ngstr\u00f6m, stra\u00dfe, \u0141\u00f3d\u017a, co\u00f6perate",
    "\u8fd9\u5f20\u56fe\u7247\u91cc\u6709\u4ec0\u4e48\uff1f"
    "\u8bf7\u8be6\u7ec6\u63cf\u8ff0\u2014\u2014\u8c22\u8c22\u2026\u2026",
    "\u3053\u306e\u753b\u50cf\u3092\u8aac\u660e\u3057\u3066\u304f\u3060\u3055\u3044\u3002"
    "\uff71\uff72\uff73 \uff21\uff22\uff23 \uff11\uff12\uff13",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u304b\u3099 Vie\u0323\u0302t",
    "\uc774 \uc774\ubbf8\uc9c0\ub97c \uc124\uba85\ud574 \uc8fc\uc138\uc694.",
    "\u041e\u043f\u0438\u0448\u0438 \u0438\u0437\u043e\u0431\u0440\u0430\u0436\u0435\u043d\u0438\u0435"
    ", \u03c0\u03b1\u03c1\u03b1\u03ba\u03b1\u03bb\u03ce",
    "\u0635\u0641 \u0627\u0644\u0635\u0648\u0631\u0629 "
    "\u05ea\u05d0\u05e8 \u05d0\u05ea \u05d4\u05ea\u05de\u05d5\u05e0\u05d4"
    " \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1e8\U0001f1ed "
    "\u2708\ufe0f\U0001f44d\U0001f3fd",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff\u00adg",
    "literal \u2581 block \u2581\u2581 and \u2581",
    "<0x41> <unk?> [UNUSED_TOKEN_3] </ s> <|im_end <img",
    "aaaaaaaaaaaaaaaaaaaaaaaaa --------- ======== ......... \u2500\u2500\u2500\u2500\u2500\u2500\u2500",
    "\u2460 \ufb01ne \u2122 \u33a1 \u2167 \u00b4 \u0130I\u0131i",
    "\x01\x7f\u0085\ufffd\U0010fffd",
)
"""What every conversion is tried on, each also between added tokens: spaces, scripts, bytes, markers."""


@dataclass(frozen=True)
class SentencePieceModel:
    """A parsed `tokenizer.model` with SentencePiece's own processor; what cannot be translated is refused."""

    proto: sentencepiece_model_pb2.ModelProto
    processor: SentencePieceProcessor

    @classmethod
    def from_bytes(cls, data: bytes) -> "SentencePieceModel":
        """Parse the file's contents.

        Raises :class:`InputError`: not a SentencePiece model, not BPE, or with what `tokenizers` lacks.
        """
        proto = sentencepiece_model_pb2.ModelProto()
        set_min_log_level(_ERROR)  # the NUL piece of InternLM's models draws a warning on stderr at each load
        try:
            proto.ParseFromString(data)
            processor = SentencePieceProcessor(model_proto=data)
            if not proto.pieces:
                raise ValueError("no pieces")
        except Exception:  # protobuf and SentencePiece have no common error
            raise InputError("tokenizer.model is not a SentencePiece model: download it again") from None
        model = cls(proto, processor)
        if refused := ", ".join(model._unsupported()):
            raise InputError(f"tokenizer.model uses {refused}, not convertible: ship a tokenizer.json")
        return model

    def _unsupported(self) -> Iterator[str]:
        trainer, normalizer = self.proto.trainer_spec, self.proto.normalizer_spec
        if trainer.model_type != _BPE:
            name = sentencepiece_model_pb2.TrainerSpec.ModelType.Name(trainer.model_type).lower()
            yield f"model type {name} (only bpe is known)"
        if trainer.treat_whitespace_as_suffix:
            yield "treat_whitespace_as_suffix"
        if not normalizer.escape_whitespaces:
            yield "escape_whitespaces=false"
        if self.proto.denormalizer_spec.precompiled_charsmap:
            yield "a denormalizer"
        if any(piece.type == _UNUSED for piece in self.proto.pieces):
            yield "pieces of type UNUSED"
        if any(len(piece.piece) > _MAX_PIECE for piece in self.proto.pieces):
            yield f"pieces of more than {_MAX_PIECE} characters"

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """Every piece's text, by id."""
        return tuple(piece.piece for piece in self.proto.pieces)

    def ids_of_type(self, *types: int) -> list[int]:
        """Ids of the pieces of these types, in order."""
        return [index for index, piece in enumerate(self.proto.pieces) if piece.type in types]

    @property
    def removes_spaces(self) -> bool:
        """Whether runs of spaces become one and those at both ends none."""
        return bool(self.proto.normalizer_spec.remove_extra_whitespaces)

    @property
    def adds_prefix(self) -> bool:
        """Whether each text gets a space in front."""
        return bool(self.proto.normalizer_spec.add_dummy_prefix)

    def reference_ids(
        self, text: str, added: Mapping[str, AddedToken], added_ids: Mapping[str, int]
    ) -> list[int]:
        """Ids as the published tokenizer makes them: cut at the added tokens, SentencePiece in between."""
        ids: list[int] = []
        for part, is_added in _cut(text, sorted(added, key=len, reverse=True)):
            ids.extend([added_ids[part]] if is_added else self.processor.encode(part))
        return ids


def convert(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> Tokenizer:
    """The `tokenizers` tokenizer that gives the same ids as `model` with these added tokens (by id).

    Checked on `SAMPLES` and on every piece before it is returned. An added token may take the id of a piece:
    the piece is then gone, so that no text but the token's own reaches that id.

    Raises :class:`InputError`: added tokens contradict the model or each other, or a text differs.
    """
    added = {**_reserved(model, added), **added}
    if len(added) > _MAX_ADDED:
        raise InputError(
            f"tokenizer.model has {len(added)} added tokens, more than {_MAX_ADDED}: leave some out"
        )
    vocab = _vocabulary(model, added)
    aliases = _aliases(model, added)
    vocab.update({alias: vocab.pop(symbol) for symbol, alias in aliases.items()})
    unknown = next((added[index].content for index in model.ids_of_type(_UNKNOWN)), None)
    tokenizer = Tokenizer(
        BPE(
            vocab=vocab,
            merges=_merges(model, added),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=model.proto.trainer_spec.byte_fallback,
        )
    )
    tokenizer.normalizer = _normalizer(model, aliases)
    tokenizer.decoder = _decoder(model, aliases)
    tokenizer.add_tokens([added[index] for index in sorted(added)])
    check_conversion(model, tokenizer, added, set(aliases))
    return tokenizer


def _reserved(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> dict[int, AddedToken]:
    """Control and unknown pieces: SentencePiece never makes them from text, the published tokenizer does."""
    return {
        index: AddedToken(model.pieces[index], normalized=False, special=True)
        for index in model.ids_of_type(_CONTROL, _UNKNOWN)
        if index not in added
    }


def _vocabulary(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> dict[str, int]:
    by_id = dict(enumerate(model.pieces)) | {index: token.content for index, token in added.items()}
    vocab: dict[str, int] = {}
    for index, text in by_id.items():
        if text in vocab:
            raise InputError(
                f"token {shown(text)} has ids {vocab[text]} and {index}: mend tokenizer_config.json"
            )
        vocab[text] = index
    return vocab


def _aliases(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> dict[str, str]:
    """User-defined symbols of several characters, each with the one that stands for it inside the BPE.

    SentencePiece takes such a symbol whole, before any merge and without a space after it. An added token
    would start a new piece with its own leading space, merges would need pieces that do not exist: one
    character needs neither.
    """
    symbols = (model.pieces[index] for index in model.ids_of_type(_USER_DEFINED) if index not in added)
    # One with a plain space is never met: SentencePiece looks for it after it has escaped the spaces.
    long = sorted((s for s in symbols if len(s) > 1 and " " not in s), key=len, reverse=True)
    return {symbol: chr(_PRIVATE_USE + number) for number, symbol in enumerate(long)}


def _merges(model: SentencePieceModel, added: Mapping[int, AddedToken]) -> list[tuple[str, str]]:
    """Every pair of symbols that SentencePiece would join, best score first.

    SentencePiece has no list of merges: it joins the neighbours whose union is the piece of highest score.
    """
    normal = {model.pieces[index]: index for index in model.ids_of_type(_NORMAL) if index not in added}
    # A symbol of one character is never joined to a neighbour.
    symbols = (model.pieces[index] for index in model.ids_of_type(_USER_DEFINED))
    frozen = {symbol for symbol in symbols if len(symbol) == 1}
    ranked = sorted(normal.items(), key=lambda item: (-model.proto.pieces[item[1]].score, item[1]))
    return [
        (piece[:cut], piece[cut:])
        for piece, _ in ranked
        if frozen.isdisjoint(piece)
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    ]


def _normalizer(model: SentencePieceModel, aliases: Mapping[str, str]) -> normalizers.Normalizer:
    # A symbol with a space is matched in the escaped text, where it may take in the leading space.
    spaced: list[normalizers.Normalizer] = []
    steps: list[normalizers.Normalizer] = []
    for symbol, alias in aliases.items():
        (spaced if SPACE in symbol else steps).append(normalizers.Replace(symbol, alias))
    if charsmap := model.proto.normalizer_spec.precompiled_charsmap:
        steps += replacements(charsmap)
    if model.removes_spaces:
        steps.append(normalizers.Replace(Regex(f"{_TEXT_START} +| +{_TEXT_END}"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if model.adds_prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    if model.removes_spaces:
        # SentencePiece strips the end after escaping, so a literal block at the end goes too.
        steps.append(normalizers.Replace(Regex(f"{SPACE}+{_TEXT_END}"), ""))
    return normalizers.Sequence(steps + spaced)


def _decoder(model: SentencePieceModel, aliases: Mapping[str, str]) -> decoders.Decoder:
    steps: list[decoders.Decoder] = [decoders.Replace(alias, symbol) for symbol, alias in aliases.items()]
    steps += [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.removes_spaces:
        steps.append(decoders.Replace(Regex(leading_spaces(MANY_SPACES)), ""))
    elif model.adds_prefix:
        steps.append(decoders.Replace(Regex(leading_spaces(1)), ""))
    return decoders.Sequence(steps)


def check_conversion(
    model: SentencePieceModel,
    tokenizer: Tokenizer,
    added: Mapping[int, AddedToken],
    user_defined: Iterable[str] = (),
) -> None:
    """Compare ids and text with SentencePiece on `SAMPLES`, between added tokens too, and on every piece.

    Of a large model with a character map, which is slow, on a few thousand pieces.

    Raises :class:`InputError`: naming the first text that differs, with both results.
    """
    tokens = {token.content: token for token in added.values()}
    ids = {token.content: index for index, token in added.items()}
    markers = list(tokens) or [""]
    texts = [*SAMPLES, *(f"a{symbol}b {symbol}" for symbol in user_defined)]
    for number, sample in enumerate(texts):
        left, right = markers[number % len(markers)], markers[-1 - number % len(markers)]
        for text in (sample, left + sample + right, f"{left}{right}{sample}\n{left} {sample}"):
            converted = tokenizer.encode(text, add_special_tokens=False).ids
            _compare(text, model.reference_ids(text, tokens, ids), converted)
        # SentencePiece writes unknown pieces as question marks, the published tokenizer leaves them out.
        plain = [index for index in model.processor.encode(sample) if not model.processor.is_unknown(index)]
        _compare(sample, model.processor.decode(plain), tokenizer.decode(plain, skip_special_tokens=True))
    pieces = [model.pieces[n].replace(SPACE, " ") for n in model.ids_of_type(_NORMAL) if n not in added]
    pieces = [piece for piece in pieces if _NUL not in piece and not any(token in piece for token in tokens)]
    if model.proto.normalizer_spec.precompiled_charsmap:
        pieces = pieces[:: 1 + len(pieces) // _CHECKED_PIECES]
    encodings = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    for piece, expected, encoding in zip(pieces, model.processor.encode(pieces), encodings, strict=True):
        _compare(piece, expected, encoding.ids)


def _compare(text: str, expected: object, converted: object) -> None:
    if expected != converted:
        raise InputError(
            f"the converted tokenizer differs from tokenizer.model on {shown(text)}: {shown(converted)} "
            f"instead of {shown(expected)}; ship a tokenizer.json with the checkpoint"
        )


def _cut(text: str, markers: list[str]) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is a marker. `markers` come longest first."""
    start = position = 0
    while position < len(text):
        marker = next((marker for marker in markers if text.startswith(marker, position)), None)
        if marker is None:
            position += 1
            continue
        if start < position:
            yield text[start:position], False
        yield marker, True
        start = position = position + len(marker)
    if start < len(text):
        yield text[start:], False
