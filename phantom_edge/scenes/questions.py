"""The questions on a scene: only those with one clear answer, balanced, with wrong ones that are hard."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise, product

from phantom_edge.scenes.layout import KINDS, LOOKALIKES, MIXED
from phantom_edge.scenes.parts import COLOURS, DEVICES, DIRECTIONS, POSITIONS, SHAPES, Part, Triple

CLEAR = 1.25  # the largest object's radius over the next one's
LARGER = 1.3  # between two objects whose sizes are compared
APART = 0.15  # least distance along an axis for "left of", "above" and so on
BORDER = 0.04  # an object this close to the line between two thirds gets no question about its place
AMBIGUOUS = 0.12  # share of wrong answers that are vague and not false

# Fixed phrasings: one is drawn for each question.
PHRASES = {
    "colour": ("What colour is {0}?", "What color is {0}?", "Tell me the colour of {0}."),
    "shape": ("What shape is {0}?", "Tell me the shape of {0}."),
    "larger": ("Which is larger, {0} or {1}?", "Which one is larger: {0} or {1}?"),
    "smaller": ("Which is smaller, {0} or {1}?", "Which one is smaller: {0} or {1}?"),
    "count": ("How many {0} are there?", "Count the {0}."),
    "position": ("Where is {0}?", "In which part of the image is {0}?"),
    "left-right": ("Is {0} left or right of {1}?", "Is {0} to the left or to the right of {1}?"),
    "above-below": ("Is {0} above or below {1}?", "Is {0} higher or lower than {1}: above or below?"),
    "beside": ("What is {0} {1}?", "Which object is {0} {1}?"),
    "there": ("Is there {0}?", "Can you see {0}?"),
    "is": ("Is {0} {1}?", "Is it true that {0} is {1}?"),
    "sign": ("What does the sign say?", "Read the sign.", "What is written on the sign?"),
    "display": ("What number is on the display?", "Read the display.", "What does the display show?"),
    "gauge": ("What does the gauge show?", "Read the gauge."),
    "arrow": ("Which way does the arrow point?", "What direction does the arrow point?"),
    "caption": ("Describe the image.", "What is in the image?"),
    "this": ("What is this?", "What is it?", "What am I pointing at?"),
    "this colour": ("What colour is this?", "What color is this?", "Tell me the colour of this."),
    "this shape": ("What shape is this?", "Tell me the shape of this."),
    "this text": ("What does this say?", "What is written here?", "Read this."),
    "this reading": ("What does this show?", "Read this."),
    "this direction": ("Which way does this point?", "What direction does this point?"),
}
_VAGUE = {
    "colour": ("a colour", "dark", "light"), "shape": ("a shape", "an object"),
    "size": ("they look alike", "the object"), "count": ("some", "several"),
    "position": ("somewhere", "in the image"), "relation": ("next to it", "nearby"),
    "yesno": ("maybe", "not sure"), "sign": ("some letters", "a word"),
    "digits": ("some digits", "a number"), "gauge": ("somewhere in the middle", "a number"),
    "arrow": ("somewhere", "to one side"), "caption": ("some things", "a picture"),
    "pointed": ("an object", "something"), "absent": ("maybe", "not sure"),
    "nothing": ("something", "an object"),
}  # fmt: skip
# Letters and digits that are taken for one another.
_SIMILAR = {
    "A": "HR", "B": "DPR", "C": "GO", "D": "OB", "E": "FB", "F": "EP", "G": "CO", "H": "NMA", "I": "TL",
    "J": "IU", "K": "XR", "L": "IE", "M": "NW", "N": "MH", "O": "QCD", "P": "RF", "Q": "OG", "R": "PKB",
    "S": "ZB", "T": "IY", "U": "VO", "V": "UY", "W": "VM", "X": "KY", "Y": "VT", "Z": "SN",
    "0": "86", "1": "74", "2": "73", "3": "89", "4": "91", "5": "63", "6": "580", "7": "12", "8": "360",
    "9": "384",
}  # fmt: skip
# Share of the scenes that show a device: questions name absent ones as often.
_PRESENT = {
    device: (KINDS[device] + KINDS["mixed"] * sum(device in pair for pair in MIXED) / len(MIXED))
    / sum(KINDS.values())
    for device in DEVICES
}


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return ("an " if words[0] in "aeiou" else "a ") + words


class Asker:
    """Collects triples; draws phrasings and wrong answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.triples: list[Triple] = []

    def add(self, task: str, phrase: str, answer: str, wrong: Iterable[str], *words: str) -> None:
        """One question; the wrong answer is drawn from `wrong` without the right one, or is vague."""
        question = self.rng.choice(PHRASES[phrase]).format(*words)
        false = [w for w in wrong if w != answer]
        vague = self.rng.random() < AMBIGUOUS or not false
        self.triples.append(Triple(task, question, answer, self.rng.choice(_VAGUE[task] if vague else false)))

    def yesno(self, phrase: str, yes: bool, *words: str) -> None:
        self.add("yesno", phrase, "yes" if yes else "no", ["no" if yes else "yes"], *words)


def ask(kind: str, parts: Sequence[Part], rng: random.Random) -> tuple[Triple, ...]:
    """All triples on the parts of a scene of that kind."""
    asker = Asker(rng)
    things = [part for part in parts if part.kind not in ("letter", "digit")]
    objects = [part for part in things if part.kind == "object"]
    devices = [part for part in things if part.kind != "object"]
    _devices(asker, devices)
    for part in _unique(objects, "label"):
        wrong = _one_of(COLOURS, objects, rng, "colour")
        asker.add("colour", "colour", part.colour, wrong, f"the {part.label}")
    if kind == "objects":  # elsewhere "object" and a bare colour could be taken for the plate or the arrow
        for part in _unique(objects, "colour"):
            wrong = _one_of(SHAPES, objects, rng, "label")
            asker.add("shape", "shape", part.label, wrong, f"the {part.colour} object")
        _extremes(asker, objects)
        _beside(asker, objects)
    _counts(asker, objects, devices)
    _places(asker, [part for part in things if part.kind in ("object", "arrow")])
    _pairs(asker, objects)
    _presence(asker, objects, devices)
    _caption(asker, things)
    return tuple(asker.triples)


def _name(part: Part) -> str:
    return f"{part.colour} {part.label}" if part.kind == "object" else part.kind


def _one_of(values: Iterable[str], parts: Sequence[Part], rng: random.Random, name: str) -> list[str]:
    """Wrong values: those seen in the picture first, then any."""
    seen = sorted({getattr(part, name) for part in parts})
    return seen if len(seen) > 1 and rng.random() < 0.7 else list(values)


def _unique(parts: Sequence[Part], name: str) -> list[Part]:
    times = Counter(getattr(part, name) for part in parts)
    return [part for part in parts if times[getattr(part, name)] == 1]


def _named_once(objects: Sequence[Part]) -> list[Part]:
    times = Counter(map(_name, objects))
    return [part for part in objects if times[_name(part)] == 1]


def misread(text: str, rng: random.Random) -> list[str]:
    """The text with one character replaced by a similar one."""
    at = rng.randrange(len(text))
    others = _SIMILAR[text[at]]
    if at == 0 and len(text) > 1:  # no leading zero
        others = others.replace("0", "")
    return [text[:at] + other + text[at + 1 :] for other in others]


def off(reading: str, rng: random.Random) -> str:
    """A reading 15 to 30 points away, within 0 to 100."""
    value, step = int(reading), rng.randint(15, 30)
    up = value + step <= 100 and (value - step < 0 or rng.random() < 0.5)
    return str(value + step if up else value - step)


def _devices(asker: Asker, devices: Sequence[Part]) -> None:
    for part in devices:
        if part.kind == "arrow":
            at = DIRECTIONS.index(part.label)
            wrong = [DIRECTIONS[(at + step) % 8] for step in (4, 4, 1, -1)]
            asker.add("arrow", "arrow", part.label, wrong)
            asker.add("colour", "colour", part.colour, COLOURS, "the arrow")
        else:
            ask_reading(asker, part)


def ask_reading(asker: Asker, part: Part) -> None:
    """What a sign, a display or a gauge shows."""
    if part.kind == "gauge":
        asker.add("gauge", "gauge", part.label, [off(part.label, asker.rng)])
    else:
        task = "sign" if part.kind == "sign" else "digits"
        asker.add(task, part.kind, part.label, misread(part.label, asker.rng))


def _extremes(asker: Asker, objects: Sequence[Part]) -> None:
    """Largest, smallest, leftmost… where one stands out."""
    if len(objects) < 2:
        return
    extremes: list[tuple[str, Part]] = []
    by_size = sorted(objects, key=lambda part: part.radius)
    if by_size[-1].radius >= CLEAR * by_size[-2].radius:
        extremes.append(("the largest object", by_size[-1]))
    if by_size[1].radius >= CLEAR * by_size[0].radius:
        extremes.append(("the smallest object", by_size[0]))
    sides = [("on the left", "x", 1), ("on the right", "x", -1)]
    sides += [("at the top", "y", 1), ("at the bottom", "y", -1)]
    for words, axis, sign in sides:
        order = sorted(objects, key=lambda part: sign * (getattr(part, axis) - 0.5))
        first, second = (sign * (getattr(part, axis) - 0.5) for part in order[:2])
        if first < -0.12 and second - first > 0.25 and second > -0.08:
            extremes.append((f"the object {words}", order[0]))
    for words, part in extremes:
        asker.add("colour", "colour", part.colour, _one_of(COLOURS, objects, asker.rng, "colour"), words)
        asker.add("shape", "shape", part.label, _one_of(SHAPES, objects, asker.rng, "label"), words)
        if asker.rng.random() < 0.5:
            asker.yesno("is", True, words, part.colour)
        else:
            others = [c for c in _one_of(COLOURS, objects, asker.rng, "colour") if c != part.colour]
            asker.yesno("is", False, words, asker.rng.choice(others))


# Shares of the counts that become questions, by answer, so that the answers come out about equally often.
_KEEP_COLOUR = {0: 0.18, 1: 0.12, 2: 0.48, 3: 0.85}
_KEEP_SHAPE = {0: 0.15, 1: 0.09, 2: 0.45, 3: 0.8}


def _counts(asker: Asker, objects: Sequence[Part], devices: Sequence[Part]) -> None:
    rng = asker.rng
    if not devices:
        _count(asker, len(objects), "objects")
        _count_of(asker, [part.colour for part in objects], COLOURS, _KEEP_COLOUR)
    if objects or rng.random() < 0.5:
        names = [s for s in SHAPES if not any(s in LOOKALIKES[part.kind] for part in devices)]
        _count_of(asker, [part.label for part in objects], names, _KEEP_SHAPE)


def _count(asker: Asker, number: int, what: str) -> None:
    asker.add("count", "count", str(number), [str(n) for n in (number - 1, number + 1) if n >= 0], what)


def _count_of(asker: Asker, seen: Sequence[str], values: Sequence[str], keep: dict[int, float]) -> None:
    """Counts of objects by colour or shape, and of one value that is not there."""
    rng, times = asker.rng, Counter(seen)
    absent = rng.choice([value for value in values if not times[value]])
    for value in [*sorted(times), absent]:
        if rng.random() < keep.get(times[value], 1.0):
            plural = f"{value} objects" if value in COLOURS else value + ("es" if value == "cross" else "s")
            _count(asker, times[value], plural)


def _third(value: float) -> int | None:
    """0, 1 or 2; None close to a line."""
    return None if min(abs(value - 1 / 3), abs(value - 2 / 3)) < BORDER else int(value * 3)


def _places(asker: Asker, parts: Sequence[Part]) -> None:
    for part in _named_once(parts):
        column, row = _third(part.x), _third(part.y)
        if column is None or row is None:
            continue
        at = 3 * row + column
        wrong = [p for n, p in enumerate(POSITIONS) if abs(n // 3 - row) + abs(n % 3 - column) in (1, 2)]
        asker.add("position", "position", POSITIONS[at], wrong, f"the {_name(part)}")


def _pairs(asker: Asker, objects: Sequence[Part]) -> None:
    """Two objects compared; at most three pairs of a scene, so that full ones do not drown the others."""
    rng = asker.rng
    pairs = list(combinations(_named_once(objects), 2))
    for a, b in rng.sample(pairs, min(3, len(pairs))):
        if rng.random() < 0.5:
            a, b = b, a
        first, second = f"the {_name(a)}", f"the {_name(b)}"
        if max(a.radius, b.radius) >= LARGER * min(a.radius, b.radius):
            larger, smaller = (first, second) if a.radius > b.radius else (second, first)
            phrase = rng.choice(("larger", "smaller"))
            answer = larger if phrase == "larger" else smaller
            asker.add("size", phrase, answer, [first, second], first, second)
        if abs(a.x - b.x) >= APART:
            side = "left" if a.x < b.x else "right"
            asker.add("relation", "left-right", side, ["left", "right"], first, second)
            _is_relation(asker, a.x < b.x, ("left of", "right of"), first, second)
        if abs(a.y - b.y) >= APART:
            side = "above" if a.y < b.y else "below"
            asker.add("relation", "above-below", side, ["above", "below"], first, second)
            _is_relation(asker, a.y < b.y, ("above", "below"), first, second)


def _is_relation(asker: Asker, less: bool, words: tuple[str, str], first: str, second: str) -> None:
    if asker.rng.random() < 0.5:
        say = asker.rng.randrange(2)
        asker.yesno("is", less == (say == 0), first, f"{words[say]} {second}")


def _beside(asker: Asker, objects: Sequence[Part]) -> None:
    """What is left of the blue ring: where one object is and every other one is clearly not."""
    rng = asker.rng
    neighbours: list[tuple[str, Part, Part]] = []
    sides = (("left of", "x", -1), ("right of", "x", 1), ("above", "y", -1), ("below", "y", 1))
    for part in _named_once(objects):
        for words, axis, sign in sides:
            ahead = [(sign * (getattr(o, axis) - getattr(part, axis)), o) for o in objects if o is not part]
            near = [o for distance, o in ahead if distance > 0.03]
            if len(near) == 1 and max(distance for distance, _ in ahead) >= APART:
                neighbours.append((words, part, near[0]))
    for words, part, answer in rng.sample(neighbours, min(2, len(neighbours))):
        wrong = [f"the {_name(o)}" for o in objects]
        if len(set(wrong)) < 3:
            wrong.append(f"the {rng.choice([c for c in COLOURS if c != answer.colour])} {answer.label}")
            wrong.remove(f"the {_name(part)}")
        asker.add("relation", "beside", f"the {_name(answer)}", wrong, words, f"the {_name(part)}")


def _presence(asker: Asker, objects: Sequence[Part], devices: Sequence[Part]) -> None:
    rng, here = asker.rng, {part.kind for part in devices}
    for device in DEVICES:
        if device in here:
            asker.yesno("there", True, article(device))
        elif rng.random() < _PRESENT[device] / (1 - _PRESENT[device]):
            asker.yesno("there", False, article(device))
    if not objects:
        return
    asker.yesno("there", True, article(_name(rng.choice(objects))))
    absent = _absent(objects, rng)
    if absent:
        asker.yesno("there", False, article(absent))


def _absent(objects: Sequence[Part], rng: random.Random) -> str:
    """A colour and shape that are not there together, though each or one of them is."""
    present = {(part.colour, part.label) for part in objects}
    colours, shapes = (sorted(set(values)) for values in zip(*present, strict=True))
    both = [pair for pair in product(colours, shapes) if pair not in present]
    if both and rng.random() < 0.6:
        return " ".join(rng.choice(both))
    part = rng.choice(objects)
    half = [(c, part.label) for c in COLOURS] if rng.random() < 0.5 else [(part.colour, s) for s in SHAPES]
    return " ".join(rng.choice([pair for pair in half if pair not in present]))


def phrase(part: Part) -> str:
    """A part in a caption."""
    if part.kind == "sign":
        return f"a sign that says {part.label}"
    if part.kind == "arrow":
        return f"{article(part.colour)} arrow that points {part.label}"
    if part.kind in ("display", "gauge"):
        return f"a {part.kind} that shows {part.label}"
    return article(_name(part))


def caption(parts: Sequence[Part]) -> str:
    """The things of a picture from left to right in one sentence."""
    *first, last = [phrase(part) for part in sorted(parts, key=lambda part: part.x)]
    return f"{', '.join(first)} and {last}" if first else last


def _caption(asker: Asker, things: Sequence[Part]) -> None:
    places = sorted(part.x for part in things)
    if len(things) > 4 or any(b - a < 0.04 for a, b in pairwise(places)):
        return
    asker.add("caption", "caption", caption(things), [caption(altered(things, asker.rng))])


def altered(things: Sequence[Part], rng: random.Random) -> list[Part]:
    """The same things, one of them wrong."""
    at = rng.randrange(len(things))
    part, kind = things[at], things[at].kind
    label, colour = part.label, part.colour
    if kind in ("sign", "display"):
        label = rng.choice(misread(label, rng))
    elif kind == "gauge":
        label = off(label, rng)
    elif kind == "object" and rng.random() < 0.5:
        label = rng.choice([s for s in SHAPES if s != label])
    else:
        colour = rng.choice([c for c in COLOURS if c != colour])
    return [*things[:at], Part(kind, label, colour, part.x, part.y, part.radius), *things[at + 1 :]]
