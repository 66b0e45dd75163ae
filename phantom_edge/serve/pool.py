"""The models of a server, loaded when they are asked for, the oldest given back for want of memory."""

from __future__ import annotations

import asyncio
from typing import Final

from phantom_edge.errors import did_you_mean, shown
from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.lane import Lane
from phantom_edge.serve.metrics import Metrics
from phantom_edge.serve.options import ServeOptions

PATIENCE: Final = 30.0
"""Most seconds in which a cancelled answer must end: a token, or a prompt and its picture."""


class Pool:
    """Lanes by their models' names; the first is the default."""

    def __init__(self, options: ServeOptions, metrics: Metrics):
        self.memory = options.memory
        bounds = options.queue, min(options.timeout, PATIENCE)
        self.lanes = {
            name: Lane(
                name,
                options.facts(model),
                *bounds,
                metrics,
                self.make_room,
                size=model.bytes,
                knows=model.knows,
            )
            for name, model in options.models.items()
        }

    def lane(self, name: str | None) -> Lane:
        """A model's lane, None for the default. Raises :class:`ApiError` for an unknown name."""
        if name is None:
            return next(iter(self.lanes.values()))
        if name not in self.lanes:
            what = f"no model {shown(name)}{did_you_mean(name, self.lanes)}; GET /v1/models lists them"
            raise ApiError(404, what, param="model", code="model_not_found")
        return self.lanes[name]

    async def make_room(self, asking: Lane) -> None:
        """Give back the models that were used longest ago, while all of them have more than the bound.

        One that is about to be loaded counts as much as it had before. A model that is being asked stays,
        and so does ``asking``.
        """
        if self.memory is None:
            return
        sizes = {lane.name: lane.resident for lane in self.lanes.values()}
        expected = max(sizes[asking.name], asking.size)
        asking.size = expected
        others = [lane for lane in self.lanes.values() if lane is not asking and lane.process is not None]
        used = expected + sum(sizes[lane.name] for lane in others)
        for lane in sorted(others, key=lambda lane: lane.used):
            if used <= self.memory:
                return
            if not lane.busy:
                used -= sizes[lane.name]
                await lane.unload()

    def drain(self) -> None:
        """From now on refuse who waits; answers under way go on."""
        for lane in self.lanes.values():
            lane.ending = True

    async def close(self) -> None:
        """End all processes."""
        self.drain()
        await asyncio.gather(*(lane.unload() for lane in self.lanes.values()))
