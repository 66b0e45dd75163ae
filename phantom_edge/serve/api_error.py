"""What is wrong with a request, as the API says it: one object, and a status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from phantom_edge.errors import MAX_MESSAGE, one_line

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
MAX_CODE: Final = 64


class ApiError(Exception):
    """A refused or failed request: ``status`` of HTTP, and what the error object says.

    >>> from phantom_edge.serve.api_error import ApiError
    >>> ApiError(404, "no such model", code="model_not_found").body["error"]["type"]
    'invalid_request_error'
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body: dict[str, Any] = {
            "error": {
                "message": one_line(message, MAX_MESSAGE),
                "type": kind or (SERVER if status >= 500 else INVALID),
                "param": param,
                "code": code,
            }
        }

    @property
    def code(self) -> str | None:
        """What programs read."""
        code: str | None = self.body["error"]["code"]
        return code


def busy(seconds: int, message: str) -> ApiError:
    """Too much is asked at once; it may be asked again after ``seconds``."""
    return ApiError(
        429,
        message,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )
