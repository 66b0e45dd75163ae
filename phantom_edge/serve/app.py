"""The routes: chat completions, models, health, metrics, and a page that describes them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from phantom_edge import __version__
from phantom_edge.apps.hosts import Hosts
from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.chat import Chats
from phantom_edge.serve.docs_page import POLICY, docs_page
from phantom_edge.serve.fetch import Fetcher
from phantom_edge.serve.gate import Bodies, Guarded, Observed, response_of
from phantom_edge.serve.logs import log
from phantom_edge.serve.metrics import Metrics
from phantom_edge.serve.options import ServeOptions
from phantom_edge.serve.pool import Pool
from phantom_edge.serve.request import ChatRequest

ABOUT = "Questions about pictures, answered on this machine by Phantom models in the form of OpenAI's API."


class Service:
    """The application of one server, with what it keeps."""

    def __init__(self, options: ServeOptions):
        self.options, self.metrics = options, Metrics()
        self.pool = Pool(options, self.metrics)
        fetcher = Fetcher(options.max_body, options.allow_private_url) if options.allow_url else None
        self.chats = Chats(self.pool, self.metrics, Bodies(options.max_body), options.timeout, fetcher)
        self.started = int(time.time())
        self.api = FastAPI(
            title="phantom-edge serve",
            version=__version__,
            description=ABOUT,
            docs_url=None,  # the library's own page loads its scripts from elsewhere
            redoc_url=None,
            lifespan=self._life,
        )
        self._add_routes()
        for kind in (ApiError, HTTPException, Exception):
            self.api.add_exception_handler(kind, _answer_error)

    def guarded(self, hosts: Hosts) -> ASGIApp:
        """The application behind its gates, for a server of these names."""
        app: ASGIApp = Guarded(self.api, hosts, self.options.api_key)
        if self.options.cors:
            app = CORSMiddleware(
                app,
                allow_origins=self.options.cors,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["X-Request-Id", "Retry-After"],
            )
        return Observed(app, self.metrics)

    @contextlib.asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.pool.close()

    def _add_routes(self) -> None:
        body = {
            "content": {"application/json": {"schema": ChatRequest.model_json_schema()}},
            "required": True,
        }
        post = {"methods": ["POST"], "openapi_extra": {"requestBody": body}}
        self.api.add_api_route("/v1/chat/completions", self.chat, **post)  # type: ignore[arg-type]
        self.api.add_api_route("/v1/models", self.models)
        self.api.add_api_route("/v1/models/{name:path}", self.model)
        self.api.add_api_route("/health", self.health)
        self.api.add_api_route("/metrics", self.numbers)
        self.api.add_api_route("/docs", self.docs, include_in_schema=False)

    async def chat(self, request: Request) -> Response:
        """Answer the last message of a conversation, which may be about one picture in its first."""
        return await self.chats.respond(request)

    async def models(self) -> JSONResponse:
        """List the models."""
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.pool.lanes]})

    async def model(self, name: str) -> JSONResponse:
        """Describe one model."""
        return JSONResponse(self._model(self.pool.lane(name).name))

    async def health(self) -> JSONResponse:
        """Whether the server takes requests, and the state of each model."""
        lanes = self.pool.lanes.values()
        ending = any(lane.ending for lane in lanes)
        states = [
            {"id": lane.name, "state": lane.state, "waiting": lane.waiting, "resident": lane.resident}
            for lane in lanes
        ]
        status = "stopping" if ending else "ok"
        return JSONResponse({"status": status, "models": states}, 503 if ending else 200)

    async def numbers(self) -> Response:
        """Counts and times for Prometheus."""
        for lane in self.pool.lanes.values():
            self.metrics.waiting.labels(lane.name).set(lane.waiting)
            self.metrics.loaded.labels(lane.name).set(lane.state == "loaded")
            self.metrics.memory.labels(lane.name).set(lane.resident)
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def docs(self, request: Request) -> HTMLResponse:
        """The page that describes the API."""
        page = docs_page(self.api.openapi(), str(request.base_url), next(iter(self.pool.lanes)))
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    def _model(self, name: str) -> dict[str, Any]:
        facts = {"id": name, "object": "model", "created": self.started, "owned_by": "phantom-edge"}
        knows = self.pool.lanes[name].knows
        return facts if knows is None else facts | {"knows": knows}


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    """Every error as the API's object; of an unexpected one its kind alone, for it may quote a text."""
    if isinstance(error, HTTPException):
        error = _http_error(request, error)
    if not isinstance(error, ApiError):
        log("error", kind=type(error).__name__, place=_place(error))
        error = ApiError(500, f"unexpected {type(error).__name__} in the server", code="internal_error")
    return response_of(error)


def _http_error(request: Request, error: HTTPException) -> ApiError:
    if error.status_code == 404:
        what = "no such address here; /docs describes what there is"
        return ApiError(404, what, code="unknown_url")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        what = f"{request.method[:10]} is not what this address takes; it takes {allowed}"
        return ApiError(405, what, code="method_not_supported", headers=error.headers)
    return ApiError(error.status_code, str(error.detail), headers=error.headers)


def _place(error: BaseException) -> str:
    """Where it was raised, without what it says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
