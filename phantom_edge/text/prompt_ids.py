"""The ids of a conversation, in which the template alone brings control tokens.

A tokenizer cuts its added tokens out of a text wherever they are written, also inside a question: `</s>`
there would be the token that ends a text. The published code passes them on; here such a text is refused.
"""

from collections.abc import Sequence
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
        return self.conversation([(question, None)], image_tokens)

    def conversation(
        self, turns: Sequence[tuple[str, str | None]], image_tokens: int | None = None
    ) -> list[int]:
        """The ids of (question, answer) turns, the last without an answer. Raises as :meth:`first` does."""
        whole = self.template.render(turns, image_tokens)
        blank = self.template.render(
            [("", None if answer is None else "") for _, answer in turns], image_tokens
        )
        texts = [("question", question) for question, _ in turns]
        texts += [("answer", answer) for _, answer in turns if answer is not None]
        return self._encode(texts, whole, blank)

    def next(self, question: str) -> list[int]:
        """The ids of what follows an answer, from its end token on. Raises as :meth:`first` does."""
        prompt, blank = (self.template.render_next(text) for text in (question, ""))
        return self._encode([("question", question)], prompt, blank)

    def answered(self, question: str, answer: str, image_tokens: int | None = None) -> list[int]:
        """The ids of a first prompt with its answer and the end token. Raises as :meth:`first` does."""
        prompt = self.template.render([(question, None)], image_tokens)
        end = self.template.assistant_end
        return self._encode([("answer", answer)], prompt + answer + end, prompt + end)

    def answer(self, answer: str) -> list[int]:
        """The ids of an answer by itself and its end token. Raises as :meth:`first` does."""
        end = self.template.assistant_end
        return self._encode([("answer", answer)], answer + end, end)

    def begun(self, choice: str) -> list[int]:
        """The ids of a text as the beginning of an answer, after the template's words before one.

        Where these change with what follows, the ids of the text by itself. Raises as :meth:`first` does.
        """
        start = self.template.assistant_start
        before, ids = self.tokenizer.encode(start), self._encode([("choice", choice)], start + choice, start)
        if ids[: len(before)] == before:
            return ids[len(before) :]
        return self._encode([("choice", choice)], choice, "")

    def _encode(self, texts: Sequence[tuple[str, str]], whole: str, blank: str) -> list[int]:
        """Ids of ``whole``, which must have the control tokens of ``blank``, the same without ``texts``.

        ``texts`` come with what an error calls them.
        """
        for what, text in texts:
            for token in self.tokenizer.control_tokens.values():
                if token in text:
                    raise InputError(reserved(what, token))
        ids = self.tokenizer.encode(whole)
        # Compared as ids too, because a tokenizer also finds tokens in its normalised form of a text.
        if self._controls(ids) != self._controls(self.tokenizer.encode(blank)):
            raise InputError(reserved(*self._culprit(texts)))
        return ids

    def _culprit(self, texts: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """The first text that brings a control token by itself: what it is called, and the token."""
        for what, text in texts:
            for index in self._controls(self.tokenizer.encode(text)):
                return what, self.tokenizer.control_tokens[index]
        return texts[0][0], "a control token"

    def _controls(self, ids: list[int]) -> list[int]:
        # What stands for an unknown character is no sign that its name was written.
        names, unknown = self.tokenizer.control_tokens, self.tokenizer.unknown_id
        return [index for index in ids if index in names and index != unknown]
