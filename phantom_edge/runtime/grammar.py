"""Answers within a grammar, by llguidance: which tokens may follow, over a model's own tokenizer.

llguidance works on bytes. A tokenizer that drops spaces at the beginning of a text may write an answer with
them, so that its grammar takes them too.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phantom_edge.errors import InputError, first_line, one_line
from phantom_edge.runtime.sampling import REFUSED, Floats
from phantom_edge.system.reading import object_of, parse_json
from phantom_edge.text import regular
from phantom_edge.text.decoding import MANY_SPACES
from phantom_edge.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_SCHEMA: Final = 256 << 10
"""Characters of a JSON schema."""
_LEVELS: Final = 12
"""Of a pattern's tree in one rule: parsers have limits on what stands in each other."""
_JSON: Final = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""A space at most behind commas and colons: a model does not fill its answer with white space."""
_HEAD: Final = '%llguidance {"no_forcing": true}'
"""Every token that goes on with the grammar is allowed, also where one text alone may follow."""
_DEAD_END: Final = "NoExtensionBias"
"""How llguidance calls a state in which neither a token nor an end may follow."""
_PLACE: Final = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
_BITS: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_PENALTIES: Final = np.where(_BITS, np.float32(0), REFUSED)
"""What each byte of a mask adds to the logits of its eight ids: [256, 8]."""
_PLAIN: Final = frozenset(string.ascii_letters + string.digits)


class GrammarConstraint:
    """The state of one answer in a grammar: which tokens may follow, and whether it may end.

    Raises :class:`InputError` for a grammar that cannot be followed, in the words of ``what``.
    """

    def __init__(self, grammar: str, tokenizer: Tokenizer, end_ids: Sequence[int], what: str) -> None:
        self._end_ids, self._what = list(end_ids), what
        self._vocabulary = _vocabulary(tokenizer, end_ids[0])
        self._matcher: LLMatcher = _engine().LLMatcher(self._vocabulary, grammar, log_level=0)
        self._check()

    def restricted(self, logits: Floats) -> Floats:
        """Logits [vocab] with :data:`REFUSED` in the place of what may not follow.

        Raises :class:`InputError` where nothing may: the tokenizer has no piece for a character.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.get_error().startswith(_DEAD_END):
            raise InputError("the model's tokenizer has no token that goes on with the form; change the form")
        self._check()
        penalty = _PENALTIES.take(bits, axis=0).reshape(-1)[: len(logits)]
        only = np.full(len(logits), REFUSED)
        np.add(logits[: len(penalty)], penalty, out=only[: len(penalty)])
        ends = self._end_ids
        only[ends] = logits[ends] if self._matcher.is_accepting() else REFUSED
        return only

    def allows(self, token: int) -> bool:
        """Whether a token may follow: a small part of the work of :meth:`restricted`."""
        if token in self._end_ids:
            return bool(self._matcher.is_accepting())
        if token >= self._vocabulary.vocab_size:
            return False  # logits may be wider than the tokenizer
        return bool(self._matcher.validate_tokens([token]) == 1)

    def accept(self, token: int) -> None:
        """Go on with a token, which was allowed."""
        if token not in self._end_ids:
            self._matcher.consume_token(token)
            self._check()

    @property
    def complete(self) -> bool:
        """Whether nothing but an end may follow."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _refused(self._what, self._matcher.get_error())


def regex_grammar(pattern: str, dropped_spaces: int = 0) -> str:
    """A pattern of :mod:`phantom_edge.text.regular` in llguidance's language. Raises :class:`InputError`."""
    tree = regular.parse(pattern)
    rules = _Rules()
    body = rules.add(tree)
    if not dropped_spaces:
        return rules.text(body)
    whole = f"/ ?/ {body}"
    if regular.may_begin_with(tree, ord(" ")):
        # As many spaces as are dropped stand before an answer that begins with one.
        whole = f"/ ?/ ({body} & ~/ (?s:.*)/)"
        if dropped_spaces < MANY_SPACES:
            whole += f" | / {{{dropped_spaces}}}/ {body}"
    return rules.text(rules.define(whole))


def schema_grammar(schema: Mapping[str, Any], dropped_spaces: int = 0) -> str:
    """A JSON schema in llguidance's language, for JSON in one line."""
    text = json.dumps({**schema, "x-guidance": _JSON})
    start = "start: json" + (' | " " json' if dropped_spaces else "")
    return f"{_HEAD}\n{start}\njson: %json {text}"


def check_grammar(grammar: str, what: str) -> None:
    """Raise :class:`InputError` for a grammar that is none or that no text meets; ``what`` it is called."""
    engine = _engine()
    matcher = engine.LLMatcher(engine.LLTokenizer("byte"), grammar, log_level=0)
    matcher.compute_bitmask()
    if matcher.get_error().startswith(_DEAD_END):
        raise InputError(f"no text meets {what}; mend it")
    if matcher.is_error():
        raise _refused(what, matcher.get_error())


def checked_schema(schema: Mapping[str, Any] | bool) -> dict[str, Any]:
    """A copy of a JSON schema that can be followed; True is any JSON object. Raises :class:`InputError`."""
    what = "the JSON schema"
    if schema is True:
        schema = {"type": "object"}
    if not isinstance(schema, Mapping):
        raise InputError(f"{what} is {type(schema).__name__}; give an object, or True for any JSON object")
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{what} is no JSON ({first_line(error)}); mend it") from None
    if len(text) > MAX_SCHEMA:
        raise InputError(f"{what} has {len(text):,} characters, more than {MAX_SCHEMA:,}; make it simpler")
    copy = object_of(parse_json(text, what), what)
    check_grammar(schema_grammar(copy), what)
    return copy


def _refused(what: str, error: str) -> InputError:
    reason = _PLACE.sub("", first_line(ValueError(error)))
    return InputError(f"{what} cannot be followed ({one_line(reason, 160)}); mend it")


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer, end_id: int) -> LLTokenizer:
    """llguidance's view of a tokenizer: the bytes of every id, and no control token ever inside an answer."""
    engine = _engine()
    vocabulary: LLTokenizer = engine.LLTokenizer(engine.TokenizerWrapper(_Bytes(tokenizer, end_id)))
    return vocabulary


def _engine() -> Any:
    """The library, which is loaded when the first form needs it. Raises :class:`InputError` without it."""
    try:
        import llguidance
    except ImportError:
        what = "a regular expression or a JSON schema needs the library llguidance"
        raise InputError(f"{what}: install it with pip, or use choices") from None
    return llguidance


class _Bytes:
    """What llguidance asks of a tokenizer. It would encode to guess at forced tokens, which is not used."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, end_id: int) -> None:
        self.tokens = tokenizer.token_bytes()
        self.special_token_ids = sorted({*tokenizer.control_tokens, end_id})
        self.eos_token_id = end_id

    def __call__(self, text: str | bytes) -> list[int]:
        return []


class _Rules:
    """The terminals of a grammar, one for every few levels of a tree."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, node: regular.Node) -> str:
        """The name of a terminal for ``node``."""
        return self.define(self._expression(node, 0))

    def define(self, expression: str) -> str:
        name = f"R{len(self._lines)}"
        self._lines.append(f"{name}: {expression}")
        return name

    def text(self, start: str) -> str:
        return "\n".join([_HEAD, f"start: {start}", *self._lines])

    def _expression(self, node: regular.Node, level: int) -> str:
        match node:
            case regular.CharSet(ranges):
                return f"/{_characters(ranges)}/"
            case regular.Concat(()):
                return '""'
        if level == _LEVELS:
            return self.add(node)
        match node:
            case regular.Repeat(part, least, most):
                count = f"{{{least},{'' if most is None else most}}}"
                return f"({self._expression(part, level + 1)}){count}"
            case regular.Either(parts):
                return f"({' | '.join(self._expression(part, level + 1) for part in parts)})"
            case regular.Concat(parts):
                return f"({' '.join(self._expression(part, level + 1) for part in parts)})"


def _characters(ranges: Sequence[tuple[int, int]]) -> str:
    """One character as a regular expression of Rust's."""
    parts = [_code(low) + (f"-{_code(high)}" if high > low else "") for low, high in ranges]
    single = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return parts[0] if single else f"[{''.join(parts)}]"


def _code(code: int) -> str:
    return chr(code) if chr(code) in _PLAIN else f"\\x{{{code:x}}}"
