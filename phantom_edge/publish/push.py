"""Passing a bundle on: checked, then sent to a hub as one commit, with its card."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.checkpoint import hub, hub_job
from phantom_edge.checkpoint.origin import FOLDER
from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step, no_step
from phantom_edge.publish.card import MARK, Evaluation, model_card
from phantom_edge.publish.licence import Licence, licence_of
from phantom_edge.report.report import megabytes
from phantom_edge.system.files import file_sha256

MOST_MESSAGE: Final = 200
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class PushOptions:
    """How a bundle is published.

    ``private`` makes a new repository private. ``revision`` is a branch, made if need be; ``message`` the
    commit's. ``licence`` is the source's, where its card does not name one. ``evaluation`` are records that
    ``eval --records`` wrote of the bundle, for a table in the card. ``unverified`` lets a bundle through
    that was exported without verification. ``replace_card`` writes the card anew where somebody has edited
    it.

    >>> pe.PushOptions(private=True).revision is None
    True
    """

    private: bool = False
    revision: str | None = None
    message: str | None = None
    licence: str | None = None
    evaluation: Path | None = None
    unverified: bool = False
    replace_card: bool = False

    def check(self, name: str) -> None:
        """Raise :class:`InputError` for what no push can be made with, before any work."""
        hub.check_id(name)
        if self.revision is not None and hub.COMMIT.fullmatch(self.revision):
            raise InputError("--revision is a commit, which cannot be added to; name a branch")
        if self.message is not None and not 0 < len(self.message) <= MOST_MESSAGE:
            raise InputError(
                f"--message has {len(self.message)} characters; 1 to {MOST_MESSAGE} make a commit's"
            )
        if self.licence is not None:
            Licence.given(self.licence)


@dataclass(frozen=True)
class Pushed:
    """Where a bundle is now: its address on the hub and its commit; ``kept_card`` of somebody's own words."""

    url: str
    commit: str
    created: bool
    kept_card: bool


def check_push(name: str, options: PushOptions | None = None, *, step: Step = no_step) -> None:
    """Raise :class:`InputError` for a push that cannot succeed: a name that is none, or no token."""
    (options or PushOptions()).check(name)
    step("looking for a token")
    _done(name, hub_job.work("token", {"name": name}))


def push(
    bundle: str | Path, name: str, options: PushOptions | None = None, *, step: Step = no_step
) -> Pushed:
    """Publish a bundle's folder as ``name`` (owner/name) on the hub, whose token must be at hand.

    What the hub has already is not sent again, also after a push that ended early; what is there changes in
    one commit, and nothing that is no bundle is touched. Raises :class:`InputError`: the bundle is damaged or
    was not verified, there is no token, or the hub refuses.

    >>> pe.push("nano-desktop", "nano")
    Traceback (most recent call last):
    phantom_edge.errors.InputError: nano: not a Hugging Face id of the form owner/name
    """
    options = options or PushOptions()
    options.check(name)
    opened = _checked(bundle, options, step)
    card = card_for(opened, name, options, step=step)
    files, m = {path: str(opened.folder / path) for path in opened.manifest.files}, opened.manifest
    manifest = opened.folder / MANIFEST
    digests = [(path, entry.sha256, entry.bytes) for path, entry in m.files.items()]
    job: dict[str, Any] = {
        "name": name,
        "private": options.private,
        "revision": options.revision,
        "message": options.message or f"{m.target} bundle, {m.recipe.name}, by phantom-edge",
        "files": {**files, MANIFEST: str(manifest)},
        "digests": [*digests, (MANIFEST, file_sha256(manifest), manifest.stat().st_size)],
        "card": card,
        "mark": MARK,
        "replace_card": options.replace_card,
    }
    size = megabytes(opened.bytes)
    step(f"sending {name}: {size}")
    answer = _done(
        name, hub_job.work("push", job, show=lambda done, of, bar: step(_sending(name, size, bar)))
    )
    return Pushed(answer["url"], answer["commit"], answer["created"], answer["kept_card"])


def card_for(bundle: Bundle, name: str, options: PushOptions, *, step: Step = no_step) -> str:
    """The card that a push writes. Raises :class:`InputError` for records of another model."""
    licence = licence_of(bundle.manifest, step) if options.licence is None else Licence.given(options.licence)
    evaluation = None if options.evaluation is None else Evaluation.read(options.evaluation, bundle)
    return model_card(bundle, name, licence, evaluation)


def _checked(folder: str | Path, options: PushOptions, step: Step) -> Bundle:
    """The bundle, every file compared. Raises :class:`InputError` for one that should not be passed on."""
    step("checking the bundle")
    bundle = Bundle.open(folder)
    verification, origin = bundle.manifest.verification, bundle.manifest.source.origin
    if verification is None and not options.unverified:
        way = "export it again without --no-verify, or push it with --unverified, which its card then says"
        raise InputError(f"{bundle.folder}: was not verified; {way}")
    if verification is not None and not verification.ok:
        raise InputError(f"{bundle.folder}: its verification failed; export it again")
    if origin is not None and origin.kind == FOLDER:
        _LOG.warning("the manifest names the folder that it was made from: %s", one_line(origin.name, 120))
    return bundle


def _sending(name: str, size: str, bar: str) -> str:
    return f"sending {name}: {size}" + (f", {bar}" if bar else "")


def _done(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    if "reason" in answer:
        raise InputError(f"{name}: {answer['reason']}")
    return answer
