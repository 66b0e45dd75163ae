"""What Prometheus reads: counts, seconds and memory, and never a word of a request."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

PREFIX: Final = "phantom_edge"
SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            f"{PREFIX}_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self.seconds = self._histogram("request_seconds", "From a chat request to its answer's end.")
        self.first = self._histogram("first_token_seconds", "From a chat request to its answer's first part.")
        self.tokens = self._counter(
            "tokens", "Tokens by kind: text and image of prompts, and new ones.", "kind"
        )
        self.pictures = self._counter(
            "pictures", "Pictures by source: computed, or known from memory or disk.", "source"
        )
        self.restarts = self._counter("restarts", "Processes that ended by themselves and were restarted.")
        self.waiting = self._gauge("waiting_requests", "Requests that wait for their turn.")
        self.loaded = self._gauge("model_loaded", "1 where the model is loaded.")
        self.memory = self._gauge("model_resident_bytes", "Memory of the model's process.")

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", help, ["model", *labels], registry=self.registry)

    def _gauge(self, name: str, help: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", help, ["model"], registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", help, ["model"], buckets=SECONDS, registry=self.registry)
