"""A model to be evaluated: a checkpoint or a bundle, described before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate
from phantom_edge.checkpoint.origin import short_name
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Session


@dataclass(frozen=True)
class Candidate:
    """A model whose files are checked, and not yet loaded; ``tile_size`` None is its own size of tiles."""

    model: Bundle | Pretrained
    tile_size: int | None = None

    @classmethod
    def of(
        cls, model: str | Path | None = None, tile_size: int | None = None, *, revision: str | None = None
    ) -> Candidate:
        """A bundle or a checkpoint: a folder, a Hub id (at ``revision``), or None for Nano.

        Raises :class:`InputError`: it cannot be opened, or has no tiles of that size.
        """
        located = locate(model, revision=revision)
        if isinstance(located, Bundle):
            PromptSpec.of_bundle(located, tile_size)
            return cls(located, tile_size)
        return cls(located if tile_size is None else located.at_tile(tile_size), tile_size)

    @property
    def name(self) -> str:
        model = self.model
        name = short_name(str(model.folder.resolve())) if isinstance(model, Bundle) else model.name
        return name if self.tile_size is None else f"{name}, tiles of {self.tile_size}"

    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""
        if isinstance(self.model, Pretrained):
            tile_size = self.model.config.tile_size
            return {"format": "checkpoint", "tile_size": tile_size, "sha256": self.model.digest}
        m = self.model.manifest
        return {
            "target": m.target,
            "format": m.format,
            "recipe": m.recipe.name,
            "fold": m.fold.fold,
            "context": m.context,
            "made_from": m.source.name,
            "tile_size": self.tile_size or m.tiles.size,
            "sha256": self.model.digest,
        }

    def open(self, pictures: PictureCache | None = None) -> Session:
        """Load it: a bundle in its own runtime, a checkpoint in torch."""
        if isinstance(self.model, Bundle):
            return Session.of_bundle(self.model, tile_size=self.tile_size, pictures=pictures)
        return Session.of_source(self.model, pictures=pictures)

    def runs_as(self, session: Session) -> str:
        """One line on what runs."""
        if isinstance(self.model, Pretrained):
            return "checkpoint, fp32 in torch"
        facts = self.facts()
        what = f"bundle for {facts['target']}: {facts['recipe']}, fold {facts['fold']}, "
        return what + f"in {session.backend.name}"
