"""The ids of a conversation, in which the template alone brings control tokens.

A tokenizer cuts its added tokens out of a text wherever they are written, also inside a question: `</s>`
there would be the token that ends a text. The published code passes them on; here such a text is refused.
"""

from dataclasses import dataclass

from phantom_edge.errors import InputError
from phantom_edge.text.prompt import PromptTemplate, reserved
from phantom_edge.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PromptEncoder:
    """A template with its tokenizer: from questions and answers to ids.

    Each part is encoded as a whole, because what precedes a text may change its ids (SentencePiece's first
    space).
    """

    template: PromptTemplate
    tokenizer: Tokenizer

    def first(self, question: str, image_tokens: int | None = None) -> list[int]:
        """The ids of a conversation's first prompt; see :meth:`PromptTemplate.render`.

        Raises :class:`InputError`: the question would bring a control token, or is not valid Unicode.

        >>> source = pe.Pretrained.open()
        >>> PromptEncoder(source.template, source.tokenizer).first("Is it red?")[0] == source.first_id
        True
        """
        prompt, blank = (self.template.render([(text, None)], image_tokens) for text in (question, ""))
        return self._encode("question", question, prompt, blank)

    def next(self, question: str) -> list[int]:
        """The ids of what follows an answer, from its end token on. Raises as :meth:`first` does."""
        prompt, blank = (self.template.render_next(text) for text in (question, ""))
        return self._encode("question", question, prompt, blank)

    def answered(self, question: str, answer: str, image_tokens: int | None = None) -> list[int]:
        """The ids of a first prompt with its answer and the end token. Raises as :meth:`first` does."""
        prompt = self.template.render([(question, None)], image_tokens)
        end = self.template.assistant_end
        return self._encode("answer", answer, prompt + answer + end, prompt + end)

    def answer(self, answer: str) -> list[int]:
        """The ids of an answer by itself and its end token. Raises as :meth:`first` does."""
        end = self.template.assistant_end
        return self._encode("answer", answer, answer + end, end)

    def _encode(self, what: str, text: str, whole: str, blank: str) -> list[int]:
        """Ids of ``whole``, which must hold the control tokens of ``blank``, the same without ``text``."""
        for token in self.tokenizer.control_tokens.values():
            if token in text:
                raise InputError(reserved(what, token))
        ids = self.tokenizer.encode(whole)
        # Compared as ids too, because a tokenizer also finds tokens in its normalised form of a text.
        if self._controls(ids) != self._controls(self.tokenizer.encode(blank)):
            controls = self._controls(self.tokenizer.encode(text))
            token = self.tokenizer.control_tokens[controls[0]] if controls else "a control token"
            raise InputError(reserved(what, token))
        return ids

    def _controls(self, ids: list[int]) -> list[int]:
        # What stands for an unknown character is no sign that its name was written.
        names, unknown = self.tokenizer.control_tokens, self.tokenizer.unknown_id
        return [index for index in ids if index in names and index != unknown]
