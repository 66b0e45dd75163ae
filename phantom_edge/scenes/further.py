"""Questions beyond the usual ones: on what a pin points at, on what is absent, and on pictures of nothing."""

import random
from collections.abc import Sequence
from string import ascii_uppercase

from phantom_edge.scenes.parts import COLOURS, DEVICES, DIRECTIONS, SHAPES, Part, Triple
from phantom_edge.scenes.questions import Asker, altered, article, ask, ask_reading, misread, off, phrase
from phantom_edge.scenes.view import at_pin, is_visible, is_whole

NOTHING = "nothing that I know"


def ask_in_view(kind: str, parts: Sequence[Part], cut_out: bool, rng: random.Random) -> tuple[Triple, ...]:
    """All triples on a scene as it appears in the picture; ``parts`` may be partly or wholly outside.

    kind: of the scene. cut_out: whether it is what a pin cuts out: then only what lies wholly inside counts.
    """
    asker = Asker(rng)
    things = [part for part in parts if part.kind not in ("letter", "digit")]
    seen = [part for part in things if is_visible(part)]
    if not seen:
        _nothing(asker)
        return tuple(asker.triples)
    is_clear, pointed = at_pin(things)
    if pointed is not None:
        _pointed(asker, pointed)
    elif is_clear:
        for words in ("this", "this colour", "this shape"):
            _unknown(asker, words)
    if not cut_out or all(map(is_whole, seen)):
        usual = kind if any(part.kind != "object" for part in seen) else "objects"
        asker.triples += ask(usual, seen, rng)
    elif pointed is not None and is_whole(pointed):
        _reading(asker, pointed, seen)
    _absent(asker, seen)
    return tuple(asker.triples)


def _pointed(asker: Asker, part: Part) -> None:
    """What this is, and what one asks about it."""
    rng = asker.rng
    wrong = [phrase(altered([part], rng)[0]) for _ in range(2)]
    asker.add("pointed", "this", phrase(part), wrong)
    if part.colour:
        asker.add("pointed", "this colour", part.colour, COLOURS)
    if part.kind == "object":
        asker.add("pointed", "this shape", part.label, SHAPES)
    elif part.kind in ("sign", "display"):
        asker.add("pointed", "this text", part.label, misread(part.label, rng))
    elif part.kind == "gauge":
        asker.add("gauge", "this reading", part.label, [off(part.label, rng)])
    else:
        asker.add("pointed", "this direction", part.label, DIRECTIONS)


def _reading(asker: Asker, part: Part, seen: Sequence[Part]) -> None:
    """The usual question on a device that was cut out, where no other one of its kind can be seen."""
    if part.kind not in DEVICES or sum(other.kind == part.kind for other in seen) > 1:
        return
    if part.kind == "arrow":
        asker.add("arrow", "arrow", part.label, [d for d in DIRECTIONS if d != part.label])
    else:
        ask_reading(asker, part)


def _device_answer(device: str, rng: random.Random) -> str:
    """What a reading of a device that is there might be."""
    if device == "sign":
        return "".join(rng.choices(ascii_uppercase, k=3))
    if device == "display":
        return str(rng.randint(0, 9999))
    return str(rng.randint(0, 100)) if device == "gauge" else rng.choice(DIRECTIONS)


def _absent(asker: Asker, seen: Sequence[Part]) -> None:
    """Questions that suppose something which is not there, each of a kind now and then."""
    rng = asker.rng
    devices = [device for device in DEVICES if all(part.kind != device for part in seen)]
    for device in rng.sample(devices, min(2, len(devices))):
        asker.add("absent", device, f"there is no {device}", [_device_answer(device, rng)])
    objects = [part for part in seen if part.kind == "object"]
    shapes = [shape for shape in SHAPES if all(part.label != shape for part in objects)]
    shape = rng.choice(shapes)
    # Beside a device its own outline could be taken for an object's.
    plain = all(part.kind == "object" for part in seen)
    if plain and rng.random() < 0.6:
        asker.add("absent", "colour", f"there is no {shape}", COLOURS, f"the {shape}")
    colours = [colour for colour in COLOURS if all(part.colour != colour for part in seen)]
    colour = rng.choice(colours)
    if plain and rng.random() < 0.6:
        asker.add("absent", "shape", f"there is no {colour} object", SHAPES, f"the {colour} object")
    if plain and rng.random() < 0.4:
        name = f"{colour} {rng.choice(SHAPES)}"
        places = ["top left", "centre", "bottom right"]
        asker.add("absent", "position", f"there is no {name}", places, f"the {name}")


def _unknown(asker: Asker, words: str, *of: str) -> None:
    part = Part("object", asker.rng.choice(SHAPES), asker.rng.choice(COLOURS), 0.5, 0.5, 0.1)
    label = asker.rng.choice(("gauge", "display", "sign"))
    device = Part(label, _device_answer(label, asker.rng), "", 0.5, 0.5, 0.1)
    colour, shape, thing = [part.colour], [part.label], [phrase(part), phrase(device)]
    wrong = {"this colour": colour, "colour": colour, "this shape": shape, "shape": shape}.get(words, thing)
    asker.add("nothing", words, NOTHING, wrong, *of)


def _nothing(asker: Asker) -> None:
    """A picture with none of the things: that is what to say, whatever is asked."""
    rng = asker.rng
    for words in ("this", "caption", "this colour", "this shape"):
        _unknown(asker, words)
    for words in ("colour", "shape"):
        _unknown(asker, words, f"the {rng.choice(('largest', 'smallest'))} object")
    for device in rng.sample(DEVICES, 3):
        asker.add("absent", device, f"there is no {device}", [_device_answer(device, rng)])
        asker.yesno("there", False, article(device))
    shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
    asker.add("absent", "colour", f"there is no {shape}", COLOURS, f"the {shape}")
    asker.add("absent", "shape", f"there is no {colour} object", SHAPES, f"the {colour} object")
    asker.add("count", "count", "0", ["1", "2", "3"], rng.choice(("objects", f"{colour} objects")))
    asker.yesno("there", False, article(f"{colour} {shape}"))
