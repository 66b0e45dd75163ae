"""The web app's built-in pictures: scenes about which a model has no slip, and a wide one to look along.

``python -m recipes.web_samples`` writes them anew, for the Phantom-Nano that is in the package now.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from phantom_edge.runtime.session import Session
from phantom_edge.scenes import Part, Scene, Triple, correct, make_scene
from phantom_edge.scenes.questions import PHRASES, phrase
from phantom_edge.scenes.view import at_pin

WEB: Final = Path(__file__).resolve().parents[1] / "apps" / "web"
FOLDER: Final = WEB / "src" / "samples"
LIST: Final = "samples.json"
WIDE: Final = "wide.jpg"
SIDE: Final = 480  # pixels of a picture
CELL: Final = 720  # across, around each scene of the wide picture: what a window that is no square shows
TALL: Final = 840  # of the wide picture; a window shows its scene above its own middle
QUALITY: Final = 80
LOOK: Final = 96  # pixels of a picture that is only looked at for its light
BRIGHT, CONTRAST = 90, 25  # of 255: the least mean, and the least deviation from it

THIS = "What is this?"
LARGEST, COUNT = "What colour is the largest object?", "How many objects are there?"
SIGN, ARROW, GAUGE = "What does the sign say?", "Which way does the arrow point?", "What does the gauge show?"
CAPTION = "Describe the image."
_PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    LARGEST: ("colour", "the largest object"),
    COUNT: ("count", "objects"),
    SIGN: ("sign",),
    ARROW: ("arrow",),
    GAUGE: ("gauge",),
    CAPTION: ("caption",),
}
"""Each preset's kind of question among the scenes' own, and the words in it."""
_DEVICES: Final = {SIGN: "sign", ARROW: "arrow", GAUGE: "gauge"}


def truths(scene: Scene) -> dict[str, Triple]:
    """The app's presets that have one clear answer in the scene, each with it."""
    answers = {}
    for preset, (name, *words) in _PRESETS.items():
        forms = {form.format(*words) for form in PHRASES[name]}
        triple = next((triple for triple in scene.triples() if triple.question in forms), None)
        if triple is not None:
            answers[preset] = triple
    kinds = {part.kind for part in scene.parts}
    for preset, device in _DEVICES.items():
        if device not in kinds:
            answers[preset] = Triple("absent", preset, f"there is no {device}", "")
    _, thing = at_pin([part for part in scene.parts if part.kind not in ("letter", "digit")])
    if thing is not None:
        answers[THIS] = Triple("pointed", THIS, phrase(thing), "")
    return answers


def _central(kind: str, radius: float, others: int) -> Callable[[Scene], bool]:
    """Scenes with a large thing of that kind in the middle and at most so many objects beside it."""

    def fits(scene: Scene) -> bool:
        things = [part for part in scene.parts if part.kind not in ("letter", "digit")]
        rest = [part for part in things if part.kind != kind]
        return len(things) - len(rest) == 1 and len(rest) <= others and _in_the_middle(things, kind, radius)

    return fits


def _in_the_middle(things: Iterable[Part], kind: str, radius: float) -> bool:
    (thing,) = (part for part in things if part.kind == kind)
    return max(abs(thing.x - 0.5), abs(thing.y - 0.5)) < 0.2 and thing.radius > radius


def _several(scene: Scene) -> bool:
    colours = {part.colour for part in scene.parts}
    return 3 <= len(scene.parts) <= 4 and len(colours) > 1 and COUNT in truths(scene)


def _is_bright(picture: Image.Image) -> bool:
    """Whether a picture is good to look at in a row of small ones."""
    light = np.asarray(picture.convert("L"))
    return float(light.mean()) > BRIGHT and float(light.std()) > CONTRAST


PICTURES: Final[Mapping[str, tuple[str, Callable[[Scene], bool]]]] = {
    "shape": ("objects", _central("object", 0.13, 0)),
    "shapes": ("objects", _several),
    "sign": ("sign", _central("sign", 0.2, 1)),
    "arrow": ("arrow", _central("arrow", 0.12, 1)),
    "gauge": ("gauge", _central("gauge", 0.15, 1)),
    "display": ("display", _central("display", 0.2, 1)),
}
"""What each picture shows: the kind of scene, and which of them will do."""

ALONG: Final = ("shape", "sign", "arrow", "gauge")
"""What the wide picture shows, from left to right."""


def fitting(name: str, session: Session, folder: Path, after: int = -1, unlike: Scene | None = None) -> Scene:
    """The first scene of that name from ``after`` on about whose picture the model has no slip.

    It shows something else than ``unlike``. The picture is then ``NAME.jpg`` in ``folder``.
    """
    kind, fits = PICTURES[name]
    path = folder / f"{name}.jpg"
    for index in count(after + 1):
        scene = make_scene("test", index, kinds={kind: 1})
        same = unlike is not None and _shows(scene) == _shows(unlike)
        if same or not fits(scene) or not _is_bright(scene.render(LOOK)):
            continue
        scene.render(SIDE).save(path, quality=QUALITY, optimize=True)
        if not slips(scene, session, Image.open(path)):
            return scene
    raise AssertionError("scenes have no end")


def _shows(scene: Scene) -> set[tuple[str, str, str]]:
    return {(part.kind, part.label, part.colour) for part in scene.parts}


def slips(scene: Scene, session: Session, picture: Image.Image) -> list[tuple[str, str, str]]:
    """Questions that the model answers wrongly about a scene's picture, with its answer and the right one."""
    questions = {triple.question: triple for triple in scene.triples()} | truths(scene)
    chat = session.chat(picture.convert("RGB"))
    wrong = []
    for question, truth in questions.items():
        chat.rewind()
        answer = "".join(chat.ask(question))
        if not correct(truth.task, truth.answer, answer):
            wrong.append((question, answer, truth.answer))
    return wrong


_MARGINS: Final = ((CELL - SIDE) // 2, (TALL - SIDE) // 2)
"""What is beside and above a scene in its cell."""


def wide(scenes: Iterable[Scene]) -> Image.Image:
    """The scenes side by side, each in the middle of a cell, on one surface without their noise."""
    tiles = [np.asarray(scene.render(SIDE), dtype=np.float32) for scene in scenes]
    beside, above = _MARGINS
    ramp = np.linspace(0, 1, 2 * beside, dtype=np.float32)[None, :, None]
    row = [np.repeat(tiles[0][:, :1], beside, axis=1)]
    for left, right in pairwise(tiles):
        row += [left, left[:, -1:] * (1 - ramp) + right[:, :1] * ramp]
    row += [tiles[-1], np.repeat(tiles[-1][:, -1:], beside, axis=1)]
    surface = np.pad(np.concatenate(row, axis=1), ((above, above), (0, 0), (0, 0)), mode="edge")
    picture = Image.fromarray(surface.astype(np.uint8)).filter(ImageFilter.GaussianBlur(SIDE / 20))
    for n, tile in enumerate(tiles):
        picture.paste(Image.fromarray(tile.astype(np.uint8)), (n * CELL + beside, above))
    return picture


def cells(picture: Image.Image) -> list[Image.Image]:
    """The squares of the wide picture at which the sample stops."""
    beside, above = _MARGINS
    starts = range(beside, picture.width, CELL)
    return [picture.crop((left, above, left + SIDE, above + SIDE)) for left in starts]


def write(folder: Path, session: Session) -> None:
    """All pictures and the list of what they are of, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {name: fitting(name, session, folder) for name in PICTURES}
    along = _along(folder, session, chosen)
    indexes = {"pictures": chosen, "along": along}
    written = {key: {name: scene.index for name, scene in scenes.items()} for key, scenes in indexes.items()}
    sizes = {"side": SIDE, "cell": CELL}
    (folder / LIST).write_text(json.dumps({**sizes, **written}, indent=2) + "\n", encoding="utf-8")


def _along(folder: Path, session: Session, others: Mapping[str, Scene]) -> dict[str, Scene]:
    """Scenes for the wide picture, unlike the others; the model has no slip where it shows them either."""
    after = {name: others[name].index for name in ALONG}
    with TemporaryDirectory() as partial:
        while True:
            scenes = {
                name: fitting(name, session, Path(partial), after[name], others[name]) for name in ALONG
            }
            wide(scenes.values()).save(folder / WIDE, quality=QUALITY, optimize=True)
            shown = cells(Image.open(folder / WIDE))
            pairs = zip(scenes.items(), shown, strict=True)
            wrong = [name for (name, scene), cell in pairs if slips(scene, session, cell)]
            if not wrong:
                return scenes
            after |= {name: scenes[name].index for name in wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="A bundle or a checkpoint. Default: the Phantom-Nano in the package.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    write(arguments.folder, Session.open(arguments.model))
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.folder.iterdir())}
    print(f"wrote {arguments.folder}: {sum(sizes.values()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
