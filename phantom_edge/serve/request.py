"""A chat request as the API has it, parsed once: what changes an answer is meant, or refused by name.

What only concerns OpenAI's own service (``user``, ``store``, ``metadata``, …) is ignored, as unknown fields
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from phantom_edge.errors import one_line
from phantom_edge.runtime.session import DEFAULT_MAX_TOKENS
from phantom_edge.serve.api_error import ApiError

MAX_MESSAGES: Final = 1000
MAX_TOKENS: Final = 1 << 24
MAX_SEED: Final = 1 << 63
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "repetition_penalty": (1,), "logit_bias": ({},),
    "top_k": (0, -1), "min_p": (0,), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "function_call": ("none", "auto"), "modalities": (["text"],), "audio": (), "web_search_options": (),
    "prediction": (), "best_of": (1,), "echo": (False,), "suffix": ("",),
}  # fmt: skip
"""Fields that would change an answer and are not offered, with the values by which they do not."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True)


class TextPart(_Model):
    """Text of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Model):
    """A picture: a data URL (PNG, JPEG or WebP in base64), or an address where the server allows it."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(_Model):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Model):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class StreamOptions(_Model):
    """What a stream carries besides the answer."""

    include_usage: bool = False


class JsonSchema(_Model):
    """A JSON schema with a name."""

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextForm(_Model):
    """Any text."""

    type: Literal["text"]


class JsonForm(_Model):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaForm(_Model):
    """JSON that a schema allows."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChoicesForm(_Model):
    """One of several answers; an extension of the API."""

    type: Literal["choices"]
    choices: list[str]


class RegexForm(_Model):
    """An answer that a regular expression matches; an extension of the API."""

    type: Literal["regex"]
    regex: str


Form = Annotated[TextForm | JsonForm | SchemaForm | ChoicesForm | RegexForm, Field(discriminator="type")]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class ChatRequest(_Model):
    """A request of a chat completion."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    """Default: the first model of the server."""
    max_completion_tokens: Tokens | None = None
    max_tokens: Tokens | None = None
    """Default: 256, or as many as the context still holds."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Default: 0, the likeliest answer."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-MAX_SEED, lt=MAX_SEED)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Form | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None

    @property
    def most_tokens(self) -> int:
        """Of the answer."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which the answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def usage_streams(self) -> bool:
        """Whether a stream ends with what it took."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def probabilities(self) -> int | None:
        """How many of the likeliest tokens are listed beside each token; None where nothing is."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def form(self) -> dict[str, Any] | None:
        """What the answer's form is to be; None for any text."""
        if self.response_format is None or isinstance(self.response_format, TextForm):
            return None
        return self.response_format.model_dump(by_alias=True)


def parse(value: Any) -> ChatRequest:
    """A request from a JSON value. Raises :class:`ApiError` that names the first thing that is wrong.

    >>> from phantom_edge.serve.request import parse
    >>> parse({"messages": [{"role": "user", "content": "Hi"}], "stop": "."}).stops
    ('.',)
    """
    if not isinstance(value, dict):
        raise ApiError(400, "the body is no JSON object; send one with messages", code="invalid_json")
    for name, neutral in NEUTRAL.items():
        if value.get(name) is not None and value[name] not in neutral:
            what = f"{name} is not offered by this server; leave it out"
            raise ApiError(400, what, param=name, code="unsupported_parameter")
    try:
        request = ChatRequest.model_validate(value)
    except ValidationError as error:
        raise _refusal(error) from None
    if request.top_logprobs is not None and not request.logprobs:
        what = "top_logprobs goes with logprobs; set logprobs to true"
        raise ApiError(400, what, param="top_logprobs", code="invalid_value")
    if request.stream_options is not None and not request.stream:
        what = "stream_options goes with stream; set stream to true"
        raise ApiError(400, what, param="stream_options", code="invalid_value")
    return request


def _refusal(error: ValidationError) -> ApiError:
    """The deepest fault: of a union's branches it is the one that nearly fits. Values are not quoted."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    fault = max(faults, key=lambda each: len(each["loc"]))
    param, before = "", None
    for part in fault["loc"]:
        if isinstance(part, int):
            param += f"[{part}]"
        elif part.isidentifier() and part not in ("str", before):  # else a branch's name
            param += f".{part}" if param else part
        before = part
    missing = fault["type"] == "missing"
    message = f"{one_line(param, 100) or 'the body'}: {one_line(fault['msg'], 150)}"
    return ApiError(
        400, message, param=param or None, code="missing_required_parameter" if missing else "invalid_value"
    )
