"""A model to be evaluated: a checkpoint or a bundle, described before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.runtime.session import Session


@dataclass(frozen=True)
class Candidate:
    """A model whose files are checked, and not yet loaded."""

    model: Bundle | Pretrained

    @classmethod
    def of(cls, model: str | Path | None = None) -> Candidate:
        """A bundle's folder, or a checkpoint (folder, Hub id, None for Nano). Raises :class:`InputError`."""
        if model is not None and is_bundle(model):
            return cls(Bundle.open(model))
        return cls(Pretrained.open(model))

    @property
    def name(self) -> str:
        return self.model.folder.resolve().name if isinstance(self.model, Bundle) else self.model.name

    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""
        if isinstance(self.model, Pretrained):
            return {"format": "checkpoint"}
        m = self.model.manifest
        return {
            "target": m.target,
            "format": m.format,
            "recipe": m.recipe.name,
            "fold": m.fold.fold,
            "context": m.context,
            "made_from": m.source.name,
        }

    def open(self) -> Session:
        """Load it: a bundle in its own runtime, a checkpoint in torch."""
        if isinstance(self.model, Bundle):
            return Session.of_bundle(self.model)
        return Session.of_source(self.model)

    def runs_as(self, session: Session) -> str:
        """One line on what runs."""
        if isinstance(self.model, Pretrained):
            return "checkpoint, fp32 in torch"
        facts = self.facts()
        what = f"bundle for {facts['target']}: {facts['recipe']}, fold {facts['fold']}, "
        return what + f"in {session.backend.name}"
