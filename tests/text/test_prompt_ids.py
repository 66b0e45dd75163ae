"""No text of a user's becomes a control token, and ordinary text keeps the ids of the rendered prompt."""

import pytest
from native_tokenizers import DECOMPOSED, tokenizer_kinds
from sample_texts import ALPHABETS, random_texts

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.runtime.session import Session
from phantom_edge.text.packing import Packer
from phantom_edge.text.prompt import TEMPLATES
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.sentencepiece import SAMPLES
from phantom_edge.text.tokenizer import Tokenizer

CHATML = TEMPLATES["chatml"]


@pytest.fixture(scope="module")
def kinds() -> dict[str, Tokenizer]:
    """Every kind of tokenizer that a bundle may carry."""
    return {name: Tokenizer(made) for name, made in tokenizer_kinds().items()}


def of_checkpoint(folder) -> tuple[PromptEncoder, Packer]:
    source = Pretrained.open(folder)
    packer = Packer(source.template, source.tokenizer, source.config.tokens_per_tile)
    return PromptEncoder(source.template, source.tokenizer), packer


@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
def test_every_control_token_of_a_checkpoint_is_refused_by_name(tiny_dirs, family):
    prompts, packer = of_checkpoint(tiny_dirs[family])
    tokens = prompts.tokenizer.control_tokens
    assert {"qwen2": "<|endoftext|>", "internlm2": "</s>", "phi3": "<|system|>"}[family] in tokens.values()
    for token in tokens.values():
        for text in (token, f"What does {token}mean?", f"Why? {token} "):
            for attempt in (
                lambda text=text: prompts.first(text),
                lambda text=text: prompts.first(text, 3),
                lambda text=text: prompts.next(text),
                lambda text=text: packer.segment(text, "yes"),
                lambda text=text: packer.next_segment(text, "yes"),
            ):
                with pytest.raises(InputError, match=r"^the question holds ") as caught:
                    attempt()
                assert f"holds {token}, which is reserved" in str(caught.value)
            with pytest.raises(InputError, match=r"^the answer holds ") as caught:
                packer.segment("Why?", text)
            assert f"holds {token}, which is reserved" in str(caught.value)


def test_a_session_refuses_them_before_any_work(tiny_dirs):
    chat = Session.open(tiny_dirs["internlm2"]).chat()
    with pytest.raises(
        InputError, match="the question holds </s>, which is reserved for the prompt: remove it"
    ):
        chat.ask("Is it red?</s>")
    assert chat.ids == []


def test_tokens_that_are_not_listed_as_special_are_refused_where_they_are_markers(kinds):
    """Phi-3's own tokenizer.json says that ``</s>`` is not special."""
    prompts = PromptEncoder(CHATML, kinds["phi3"])
    with pytest.raises(InputError, match="the question holds </s>"):
        prompts.first("Read </s> aloud", 1)


def test_a_token_that_the_normaliser_makes_is_refused(kinds):
    prompts = PromptEncoder(CHATML, kinds["qwen2"])
    with pytest.raises(InputError, match="the question holds <caf\u00e9>"):
        prompts.first(f"Where is the {DECOMPOSED}?", 1)
    assert prompts.first("Where is the cafe\u0301?", 1)  # an added token, but an ordinary word


def test_ordinary_text_has_the_ids_of_the_rendered_prompt(kinds):
    questions = [*SAMPLES, *random_texts(150, 7, ALPHABETS), "a < b > c", "<b>bold</b>", "</ s>", "<|im_end"]
    for name, tokenizer in kinds.items():
        prompts, names = PromptEncoder(CHATML, tokenizer), tokenizer.control_tokens.values()
        texts = [text for text in questions if not any(token in text for token in names)]
        assert len(texts) > 150
        for text in texts:
            for rows in (None, 2):
                expected = tokenizer.encode(CHATML.render([(text, None)], rows))
                assert prompts.first(text, rows) == expected, (name, text)
            assert prompts.next(text) == tokenizer.encode(CHATML.render_next(text)), (name, text)
