"""Forms: what each allows at every step, over tokenizers of every kind, and what is refused."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from vocabularies import KINDS, tokenizer

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.runtime.choices import Choices, ChoicesConstraint, likelihoods
from phantom_edge.runtime.form import Form, within
from phantom_edge.runtime.grammar import GrammarConstraint, regex_grammar
from phantom_edge.runtime.sampling import Sampling, greedy
from phantom_edge.text.prompt import template_for
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.trimmed import trimmed

VECTORS = json.loads((Path(__file__).parents[1] / "support" / "form_vectors.json").read_text("utf-8"))
WIDER = 37  # logits beyond the tokenizer: rows of an embedding that is padded


@pytest.fixture(scope="module", params=[*KINDS, "nano", "trimmed"])
def words(request):
    """A tokenizer and an end id."""
    if request.param in KINDS:
        chosen = tokenizer(request.param)
        return chosen, chosen.token_id("</s>")
    source = Pretrained.open()
    if request.param == "nano":
        return source.tokenizer, source.config.end_ids[0]
    chosen = trimmed(
        tokenizer("byte level"),
        [n for n in range(tokenizer("byte level").vocab_size) if n % 7 or n < 300 or n > 590],
    )
    return chosen, chosen.token_id("</s>")


def encoder(chosen) -> PromptEncoder:
    return PromptEncoder(SimpleNamespace(assistant_start="<|user|>\n", special_strings=()), chosen)


def allowed_by(constraint, width: int) -> np.ndarray:
    """Which of ``width`` ids may follow, the other logits being untouched: [width]."""
    logits = np.linspace(-40, 40, width, dtype=np.float32)
    only = constraint.restricted(logits)
    assert only.dtype == np.float32
    kept = only > -1e37
    assert (only[kept] == logits[kept]).all()
    assert [constraint.allows(token) for token in range(width)] == kept.tolist()
    return kept


def begun(form: Form, words):
    chosen, end = words
    return form.begin(encoder(chosen), [end])


def written(text: str, dropped: int) -> list[bytes]:
    """The bytes by which a text can be written where ``dropped`` (0 or 1) spaces go at the beginning."""
    data = text.encode()
    if not dropped:
        return [data]
    return [b" " + data] if data.startswith(b" ") else [data, b" " + data]


def walks(form: Form, words, texts: list[str], number: int = 6):
    """Random ways through a form: at each step the mask over all ids is what it must be for ``texts``."""
    chosen, end = words
    pieces, width = chosen.token_bytes(), chosen.vocab_size + WIDER
    ways = [way for text in texts for way in written(text, chosen.dropped_spaces)]
    rng = random.Random(5)
    for _ in range(number):
        constraint, so_far = begun(form, words), b""
        while True:
            allowed = allowed_by(constraint, width)
            expected = {
                n
                for n, piece in enumerate(pieces)
                if piece and any(w.startswith(so_far + piece) for w in ways)
            }
            if so_far in ways:
                expected.add(end)
            assert set(np.flatnonzero(allowed)) == expected
            assert constraint.complete == (expected == {end} and so_far != b"")
            token = rng.choice(sorted(expected))
            constraint.accept(token)
            if token == end:
                break
            so_far += pieces[token]
        assert so_far in ways


TEXTS = ["red", "reddish", "rose red", " red", "größe 3", "漢字", "😀!", "no\nyes", "a" * 9]


def test_a_regular_expression_allows_exactly_its_texts(words):
    pattern = "|".join(re.escape(text) for text in TEXTS)
    walks(Form(regex=pattern), words, TEXTS)


def test_no_control_token_and_no_id_without_a_token_is_ever_allowed(words):
    chosen, end = words
    constraint = begun(Form(regex=r"[\s\S]*"), words)
    allowed = allowed_by(constraint, chosen.vocab_size + WIDER)
    pieces = chosen.token_bytes()
    assert allowed[end]
    assert not allowed[chosen.vocab_size :].any()
    assert not any(allowed[n] for n in chosen.control_tokens if n != end)
    assert all(allowed[n] for n, piece in enumerate(pieces) if piece and piece.isascii())


SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "größe", "sky blue"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 120},
        "seen": {"type": "boolean"},
        "parts": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2},
    },
    "required": ["colour", "count", "parts"],
    "additionalProperties": False,
}


def test_any_way_through_a_schema_gives_json_that_meets_it(words):
    chosen, end = words
    if chosen is tokenizer("unigram"):
        pytest.skip("has no piece for a brace")
    rng = np.random.default_rng(2)
    for _ in range(5):
        constraint, ids = begun(Form(schema=SCHEMA), words), []
        while not constraint.complete:
            token = int(rng.choice(np.flatnonzero(allowed_by(constraint, chosen.vocab_size + WIDER))))
            constraint.accept(token)
            if token == end:
                break
            ids.append(token)
        text = chosen.decode(ids)
        assert "\n" not in text
        jsonschema.validate(json.loads(text), SCHEMA)


def test_choices_allow_their_canonical_tokens_alone(words):
    chosen, end = words
    texts = ["red", "reddish", "green", "größe 3"]
    ways = {tuple(encoder(chosen).begun(text)): text for text in texts}
    assert [chosen.decode(way) for way in ways] == texts
    for way in ways:
        constraint = begun(Form(choices=texts), words)
        for n in range(len(way) + 1):
            expected = {other[n] for other in ways if len(other) > n and other[:n] == way[:n]}
            whole = way[:n] in ways
            allowed = allowed_by(constraint, chosen.vocab_size + WIDER)
            assert set(np.flatnonzero(allowed)) == expected | ({end} if whole else set())
            assert constraint.complete == (not expected)
            if n < len(way):
                constraint.accept(way[n])


def test_canonical_tokens_are_those_behind_the_prompt():
    source = Pretrained.open()
    prompts = PromptEncoder(source.template, source.tokenizer)
    start = source.tokenizer.encode(source.template.assistant_start)
    for text in ("red", "the red circle", "2"):
        assert source.tokenizer.encode(source.template.assistant_start + text) == start + prompts.begun(text)
    with pytest.raises(InputError, match="the choice holds"):
        prompts.begun("a</img>b")


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["pattern"][:30])
def test_the_engine_follows_the_vectors(case):
    """With a vocabulary of single bytes."""
    bytes_alone = Bytes([bytes([n]) for n in range(256)])
    start = time.perf_counter()
    for kind in ("matches", "open", "dead"):
        for text in case[kind]:
            constraint = bytes_alone.begun(case["pattern"])
            assert state(constraint, text.encode()) == kind, text[:60]
    assert time.perf_counter() - start < 5


def state(constraint, data: bytes) -> str:
    for byte in data:
        if not allowed_by(constraint, 257)[byte]:
            return "dead"
        constraint.accept(byte)
    return "matches" if allowed_by(constraint, 257)[256] else "open"


@pytest.mark.parametrize("case", VECTORS["tokens"]["cases"], ids=lambda case: case["pattern"])
def test_the_engine_follows_the_vectors_over_pieces(case):
    pieces = Bytes([bytes.fromhex(piece) for piece in VECTORS["tokens"]["pieces"]])
    constraint = pieces.begun(case["pattern"])
    for token in case["after"]:
        constraint.accept(token)
    allowed = np.flatnonzero(allowed_by(constraint, len(pieces.pieces) + 1)).tolist()
    assert allowed == case["allowed"] + [len(pieces.pieces)] * case["end"]


class Bytes:
    """Pieces as a tokenizer, with an end token behind them."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.control_tokens = pieces, {len(pieces): "</s>"}

    def token_bytes(self) -> list[bytes]:
        return [*self.pieces, b""]

    def begun(self, pattern: str) -> GrammarConstraint:
        return GrammarConstraint(regex_grammar(pattern), self, [len(self.pieces)], "the regular expression")


ATOMS = ("a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", r"\s", r"\S", "é", r"\.", "[b-dé]", r"\n", "1")


def random_pattern(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(6) if depth else 0
    if kind <= 1:
        return rng.choice(ATOMS)
    if kind == 2:
        return "".join(random_pattern(rng, depth - 1) for _ in range(rng.randint(1, 3)))
    parts = [random_pattern(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    group = f"({'?:' if rng.random() < 0.5 else ''}{'|'.join(parts)}{'|' * (rng.random() < 0.1)})"
    return group if kind == 3 else group + rng.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"])


@pytest.mark.slow
def test_random_patterns_match_what_pythons_re_matches():
    rng = random.Random(11)
    vocabulary = Bytes([bytes([n]) for n in range(256)])
    matched = 0
    for _ in range(400):
        pattern = random_pattern(rng, 3)
        expected = re.compile(pattern, re.ASCII)
        for _ in range(12):
            text = "".join(rng.choice("aabb1é .c\n_") for _ in range(rng.randint(0, 6)))
            match = expected.fullmatch(text) is not None
            assert (state(vocabulary.begun(pattern), text.encode()) == "matches") == match, (pattern, text)
            matched += match
    assert matched > 400


REFUSED = {
    "nothing": ({}, "this one has nothing"),
    "two": ({"choices": ["a"], "regex": "a"}, "choices and regex"),
    "no list": ({"choices": "yes"}, "no list of texts"),
    "no choice": ({"choices": []}, "there are 0 choices"),
    "many": ({"choices": [str(n) for n in range(1001)]}, "1,001 choices"),
    "empty choice": ({"choices": ["a", ""]}, "a choice has 0 characters"),
    "long choice": ({"choices": ["x" * 201]}, "201 characters"),
    "twice": ({"choices": ["a", "b", "a"]}, "'a' is there twice"),
    "number": ({"choices": [1, 2]}, "a choice is int"),
    "half": ({"choices": ["\ud800"]}, "half of a surrogate pair"),
    "half regex": ({"regex": "\ud800"}, "half of a surrogate pair"),
    "regex type": ({"regex": 3}, "is int"),
    "explodes": ({"regex": "(a{1000}){1000}"}, "use smaller"),
    "look": ({"regex": "(?=a)b"}, "looks around"),
    "schema list": ({"schema": [1]}, "is list"),
    "schema false": ({"schema": False}, "is bool"),
    "schema type": ({"schema": {"type": "nothing"}}, "cannot be followed"),
    "no text": ({"schema": {"type": "integer", "minimum": 5, "maximum": 4}}, "cannot be followed"),
    "no text deep": (
        {"schema": {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]}},
        "cannot be followed",
    ),
    "circle": ({"schema": {"$ref": "#"}}, "no text meets the JSON schema"),
    "not json": ({"schema": {"enum": [object()]}}, "is no JSON"),
    "nan": ({"schema": {"const": float("nan")}}, "NaN"),
    "remote": ({"schema": {"$ref": "https://example.com/a.json"}}, "cannot be followed"),
    "not supported": ({"schema": {"not": {"type": "string"}}}, "cannot be followed"),
    "large": ({"schema": {"enum": ["x" * 300_000]}}, "300,"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_forms_are_refused_in_one_line(name):
    values, message = REFUSED[name]
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        Form(**values)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.perf_counter() - start < 2


def test_without_the_library_choices_remain(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    assert allowed_by(begun(Form(choices=["red"]), (tokenizer("byte level"), 2)), 700).sum() == 1
    with pytest.raises(InputError, match="needs the library llguidance"):
        Form(regex="a")


def test_deep_schemas_are_refused():
    schema: dict = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InputError, match="the JSON schema"):
        Form(schema=schema)


def test_a_form_is_a_value():
    assert Form(choices=["a", "b"]) == Form(choices=("a", "b"))
    assert hash(Form(regex="a")) == hash(Form(regex="a"))
    schema = {"type": "object"}
    form = Form(schema=schema)
    schema["type"] = "string"
    assert form == Form(schema=True)


def test_a_choice_that_the_tokenizer_cannot_write_is_refused():
    spaces = tokenizer("byte fallback")
    with pytest.raises(InputError, match="cannot write the choice ' red'"):
        Form(choices=["red", " red"]).begin(encoder(spaces), [2])
    letters = tokenizer("byte level")  # normalises to NFC
    with pytest.raises(InputError, match="cannot write the choice"):
        Form(choices=["e\u0301"]).begin(encoder(letters), [2])


def test_a_form_that_the_tokenizer_cannot_go_on_with_ends_in_one_line():
    lacking = Bytes([b"a", b"b"])
    choose = within(lacking.begun("a(b|é)c"), greedy)
    logits = np.zeros(3, np.float32)
    assert [choose(logits), choose(logits)] == [0, 1]
    with pytest.raises(InputError, match="no token that goes on"):
        choose(logits)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, seed=1), Sampling(0.5, 0.6, seed=2)])
def test_every_way_to_choose_stays_within_the_form(sampling):
    vocabulary = Bytes([b"a", b"b", b"c"])
    rng = np.random.default_rng(3)
    for _ in range(30):
        choose, text = within(vocabulary.begun("a{1,3}b|b"), sampling.chooser()), b""
        while (token := choose(rng.normal(size=4).astype(np.float32) * 9)) != 3:
            text += vocabulary.pieces[token]
        assert re.fullmatch(b"a{1,3}b|b", text)


def test_the_template_of_every_family_begins_a_choice():
    for family in ("qwen2", "phi3"):
        prompts = PromptEncoder(template_for(family), tokenizer("byte level"))
        assert prompts.tokenizer.decode(prompts.begun("red")) == "red"


@pytest.mark.parametrize("case", VECTORS["choices"], ids=lambda case: f"{len(case['ids'])} choices")
def test_choices_follow_the_vectors(case):
    """A made-up model: its logits by the tokens so far, which its cache keeps."""
    tree = tree_of(case["ids"])
    model = SimpleNamespace(embed=lambda ids: ids, decode=lambda ids, cache: cache.append(int(ids[0, 0])))
    logits = {path: np.array(row, np.float32) for path, row in case["logits"].items()}
    shares = likelihoods(model, TokenPath(logits), logits[""], tree, case["end_ids"])
    assert shares.tolist() == pytest.approx(case["probabilities"], abs=1e-6)
    constraint, path = ChoicesConstraint(tree, case["end_ids"]), []
    choose = within(constraint, greedy)
    while (token := choose(logits[",".join(map(str, path))])) not in case["end_ids"]:
        path.append(token)
    assert path == case["ids"][case["greedy"]]


class TokenPath:
    """A cache that is the list of its tokens; ``length`` cuts it."""

    def __init__(self, logits: dict[str, np.ndarray]) -> None:
        self.logits, self.tokens = logits, []

    @property
    def length(self) -> int:
        return len(self.tokens)

    @length.setter
    def length(self, length: int) -> None:
        del self.tokens[length:]

    def append(self, token: int) -> np.ndarray:
        self.tokens.append(token)
        return self.logits[",".join(map(str, self.tokens))]


def tree_of(ids: list[list[int]]) -> Choices:
    """The tree of token sequences, whose texts are of no account here."""
    prompts = SimpleNamespace(
        begun=lambda text: ids[int(text)],
        tokenizer=SimpleNamespace(decode=lambda tokens: str(ids.index(list(tokens)))),
    )
    return Choices.of([str(n) for n in range(len(ids))], prompts)
