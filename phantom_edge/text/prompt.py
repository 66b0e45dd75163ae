"""The published prompt templates, as data, and the text of a conversation about an image."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from phantom_edge.errors import InputError
from phantom_edge.records import limits

MARKER = re.compile(r"<[^<>\s]+>")
_PLACEHOLDER = "<image>"
"""The published demo writes this where the image goes; here the image's place is fixed."""

Text = Annotated[str, limits(minLength=1)]


@dataclass(frozen=True)
class PromptTemplate:
    """What surrounds a question and an answer.

    No BOS, no system prompt, nothing between an end token and what follows.

    Source: `prompt_rule` in the published `modeling_phantom.py` of each size.
    """

    name: Text
    user_start: Text
    """Before the image and the question."""
    user_end: Text
    """After the question."""
    assistant_start: Text
    """Before the answer."""
    assistant_end: Text
    """After an answer, before the next question."""
    image_start: Text = "<img>"
    """Before the image tokens."""
    image_context: Text = "<IMG_CONTEXT>"
    """In the place of each image token."""
    image_end: Text = "</img>"
    """After the image tokens."""

    @property
    def special_strings(self) -> tuple[str, ...]:
        """The template's markers, each a single token of the model's tokenizer, in order without repeats."""
        parts = (self.user_start, self.user_end, self.assistant_start, self.assistant_end)
        markers = [marker for part in parts for marker in MARKER.findall(part)]
        return tuple(dict.fromkeys([*markers, self.image_start, self.image_context, self.image_end]))

    def render(self, turns: Sequence[tuple[str, str | None]], image_tokens: int | None = None) -> str:
        """The prompt for (question, answer) turns; the last answer is None, for the model to give.

        `image_tokens` is the number of image tokens (tiles x tokens per tile) placed in front of the first
        question; None asks without an image.

        Raises :class:`InputError`: no turn, an answer too many or too few, or text that holds a marker.

        >>> template_for("qwen2").render([("Hi", None)])
        '<|im_start|>user\\nHi<|im_end|><|im_start|>assistant\\n'
        """
        self._check_turns(turns)
        image = "" if image_tokens is None else self._image(image_tokens)
        text = self._turn(turns[0][0], image)
        for (_, answer), (question, _) in itertools.pairwise(turns):
            self._check_text("answer", answer or "")
            text += (answer or "") + self.render_next(question)
        return text

    def render_next(self, question: str) -> str:
        """The text that follows a generated answer when another question follows on the same context.

        It begins with the end token: the answer's ids must not include it already.

        >>> template_for("phi3").render_next("Why?")
        '<|end|><|user|>\\nWhy?<|end|><|assistant|>\\n'
        """
        return self.assistant_end + self._turn(question, "")

    def _image(self, tokens: int) -> str:
        if tokens < 1:
            raise InputError(f"an image of {tokens} tokens: it must have at least 1, or be None for no image")
        return self.image_start + self.image_context * tokens + self.image_end

    def _turn(self, question: str, image: str) -> str:
        self._check_text("question", question)
        return self.user_start + image + question + self.user_end + self.assistant_start

    def _check_turns(self, turns: Sequence[tuple[str, str | None]]) -> None:
        if not turns:
            raise InputError("the conversation is empty: give at least one question")
        for number, (_, answer) in enumerate(turns, start=1):
            last = number == len(turns)
            if last and answer is not None:
                raise InputError(f"turn {number}, the last, already has an answer: it must be None")
            if not last and answer is None:
                raise InputError(f"turn {number} has no answer: only the last turn may lack one")

    def _check_text(self, what: str, text: str) -> None:
        # These strings become control tokens: text with one could end its turn, or claim a row of the image.
        for marker in (*self.special_strings, _PLACEHOLDER):
            if marker in text:
                raise InputError(reserved(what, marker))


def reserved(what: str, token: str) -> str:
    """What a user is told whose text would become a control token; the apps use the same words."""
    return f"the {what} holds {token}, which is reserved for the prompt: remove it"


_CHATML = PromptTemplate(
    "chatml", "<|im_start|>user\n", "<|im_end|>", "<|im_start|>assistant\n", "<|im_end|>"
)
_PHI3 = PromptTemplate("phi3", "<|user|>\n", "<|end|>", "<|assistant|>\n", "<|end|>")

TEMPLATES: Mapping[str, PromptTemplate] = {template.name: template for template in (_CHATML, _PHI3)}
_OF_DECODER: Mapping[str, PromptTemplate] = {"qwen2": _CHATML, "internlm2": _CHATML, "phi3": _PHI3}


def template_for(decoder_type: str) -> PromptTemplate:
    """The template a decoder was trained with.

    Raises :class:`InputError`: the decoder type is not one of the published ones.

    >>> template_for("internlm2").name
    'chatml'
    """
    if decoder_type not in _OF_DECODER:
        known = ", ".join(_OF_DECODER)
        raise InputError(f"no prompt template for decoder type {decoder_type!r}: known are {known}")
    return _OF_DECODER[decoder_type]
