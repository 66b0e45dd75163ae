"""The model card of a bundle: written from its manifest, so that it says what was measured and no more."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import Manifest
from phantom_edge.checkpoint import hub
from phantom_edge.checkpoint.origin import EMBEDDED, FOLDER, HUB, Origin
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, one_line, shown
from phantom_edge.evaluate.result import recorded
from phantom_edge.publish.licence import Licence
from phantom_edge.report.report import Check, megabytes
from phantom_edge.report.report import shown as number
from phantom_edge.runtime.verify import QUALITY
from phantom_edge.system.outputs import short_name
from phantom_edge.targets import FORMATS, targets

if TYPE_CHECKING:
    pass

TEMPLATE: Final = "card.md.jinja"
MARK: Final = "<!-- phantom-edge wrote this card; a later push replaces it unless it was edited: "
MOST_FILES: Final = 60
LIBRARY: Final = "phantom-edge"
TASK: Final = "image-text-to-text"
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
_BLANK: Final = re.compile(r"\n{3,}")
HUBS_NAMES: Final = {
    "coreml": "coreml", "coreai": "coreai", "executorch": "executorch", "executorch-coreml": "executorch",
    "onnx": "onnx", "onnx-webgpu": "onnx", "onnx-qnn": "onnx",
}  # fmt: skip
"""Of our formats, the hub's tag."""


@dataclass(frozen=True)
class Source:
    """The checkpoint that a bundle was made from, as a card may say it: no path of whoever made it."""

    title: str
    base: str | None
    """Its id on the hub."""
    commit: str | None

    @classmethod
    def of(cls, manifest: Manifest) -> Source:
        origin: Origin = manifest.source.origin or Pretrained.origin_of(manifest.source.name)
        name = short_name(origin.name)
        if origin.kind == HUB and hub.HUB_ID.fullmatch(origin.name):
            return cls(origin.name, origin.name, origin.commit)
        titles = {
            EMBEDDED: "Phantom-Nano, which is embedded in phantom-edge",
            FOLDER: f"{name}, a local folder",
        }
        return cls(titles.get(origin.kind, name), None, None)


@dataclass(frozen=True)
class Evaluation:
    """Accuracy by task, a column for each model of a file of records; the first is the bundle."""

    models: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, path: Path, bundle: Bundle) -> Evaluation:
        """Records that ``eval --records`` wrote of this bundle, and perhaps of others asked the same.

        Raises :class:`InputError` for another file, and for records of other models alone.
        """
        results, name = recorded(path), bundle.folder.resolve().name
        own = [result for result in results if result.model == name]
        if not own:
            models = shown([result.model for result in results])
            raise InputError(
                f"{path}: holds records of {models}, none of {name}; ask this bundle, by this name"
            )
        results = own + [result for result in results if result is not own[0]]
        for other in results[1:]:
            other.changes_from(own[0])  # raises unless both were asked the same
        tasks = [(task, [r.tasks[task] for r in results]) for task in own[0].tasks]
        rows = [("all", [r.overall for r in results]), *(tasks if len(tasks) > 1 else [])]
        cells = [(task, str(line[0].questions), *map(_percent, line)) for task, line in rows]
        return cls(tuple(result.model for result in results), tuple(cells))


def model_card(
    bundle: Bundle, name: str, licence: Licence | None = None, evaluation: Evaluation | None = None
) -> str:
    """The card of a bundle at ``name`` on a hub, as Markdown with its metadata.

    >>> model_card(pe.Bundle.open("nano-desktop"), "someone/nano-desktop").splitlines()[1]
    'library_name: "phantom-edge"'
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "text": text,
        "code": code,
        "yaml": json.dumps,
        "number": number,
        "size": megabytes,
    }
    values = _values(bundle, name, licence, evaluation)
    card = environment.get_template(TEMPLATE).render(values)
    return signed(_BLANK.sub("\n\n", card))


def signed(card: str) -> str:
    """A card with its own hash at its end, by which a later push knows whether somebody has edited it."""
    return f"{card}{MARK}{hashlib.sha256(card.encode()).hexdigest()} -->\n"


def text(value: Any) -> str:
    """A value in Markdown, also in a table's cell: one line in which nothing is markup.

    >>> text("a | b\\n<img src=x> [c](d) `e`")
    'a \\\\| b &lt;img src=x&gt; \\\\[c\\\\](d) \\\\`e\\\\`'
    """
    line = one_line(str(value), 400).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{character}" if character in "\\|[]`*_" else character for character in line)


def code(value: Any) -> str:
    """A value in Markdown as it is, for machines to copy.

    >>> code("text_decoder.*"), code("`x` | y")
    ('`text_decoder.*`', "`'x' \\\\| y`")
    """
    return "`" + one_line(str(value), 400).replace("`", "'").replace("|", "\\|") + "`"


def _values(
    bundle: Bundle, name: str, licence: Licence | None, evaluation: Evaluation | None
) -> dict[str, Any]:
    m, source = bundle.manifest, Source.of(bundle.manifest)
    files = sorted(m.files.items(), key=lambda item: -item[1].bytes)
    target = targets().get(m.target)
    return {
        "m": m,
        "name": name,
        "short": name.rpartition("/")[2],
        "source": source,
        "licence": licence,
        "evaluation": evaluation,
        "tags": _tags(m),
        "library": LIBRARY,
        "task": TASK,
        "format": FORMATS[m.format].title if m.format in FORMATS else m.format,
        "target": target.title if target is not None else m.target,
        "files": files[:MOST_FILES],
        "more": len(files) - MOST_FILES,
        "bytes": sum(entry.bytes for entry in m.files.values()),
        "checks": _checks(m),
        "quality": _quality(m),
        "runs_on_genai": "genai_config.json" in m.files,
    }


def _tags(m: Manifest) -> list[str]:
    """For the hub's search; each as the hub takes tags."""
    recipe, _, _ = m.recipe.name.partition("+")  # what follows are rules of the user's
    names = ("phantom", "on-device", HUBS_NAMES.get(m.format, m.format), m.target, recipe)
    return list(dict.fromkeys(name for name in names if _TAG.fullmatch(name)))


def _checks(m: Manifest) -> list[tuple[str, int, int, int]]:
    """By question how many checks passed, failed and could not be decided."""
    groups = {} if m.verification is None else m.verification.groups
    return [(question, *_counts(checks)) for question, checks in groups.items() if question != QUALITY]


def _counts(checks: Sequence[Check]) -> tuple[int, int, int]:
    outcomes = [check.outcome for check in checks]
    return outcomes.count("ok"), outcomes.count("failed"), outcomes.count("undecided")


def _quality(m: Manifest) -> Sequence[Check]:
    return () if m.verification is None else m.verification.groups.get(QUALITY, ())


def _percent(accuracy: Any) -> str:
    return f"{accuracy.percent:.1f} % ({accuracy.low:.1f} to {accuracy.high:.1f})"
