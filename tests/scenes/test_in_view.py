"""Scenes as a camera meets them: always the same, truth where it is seen, one answer to each question."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.scenes import Part, correct
from phantom_edge.scenes.further import NOTHING
from phantom_edge.scenes.in_view import make_view
from phantom_edge.scenes.parts import FURTHER_TASKS, TASKS
from phantom_edge.scenes.scene import stream
from phantom_edge.scenes.texture import fractal, photographic
from phantom_edge.scenes.view import CONDITIONS, at_pin, is_visible, is_whole

PLACED = ("margin", "small", "paper", "screen")


@pytest.fixture(scope="module")
def views():
    """150 views of each condition."""
    return [make_view("train", n, c, seed) for seed, c in enumerate(CONDITIONS) for n in range(150)]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_view_is_always_the_same_and_no_two_are_alike(condition):
    one, again, other = (make_view("test", n, condition) for n in (4, 4, 5))
    assert one == again
    assert one.triples() == again.triples()
    assert one.render(64).tobytes() == again.render(64).tobytes() != other.render(64).tobytes()
    assert one.render(64).size == (64, 64)


def test_every_question_has_one_answer_and_no_wrong_one_counts_as_right(views):
    answers = defaultdict(set)
    for view in views:
        for triple in view.triples():
            assert triple.task in (*TASKS, *FURTHER_TASKS)
            assert correct(triple.task, triple.answer, triple.answer)
            assert not correct(triple.task, triple.answer, triple.wrong)
            answers[view.view.condition, view.scene.index, triple.question].add(triple.answer)
    assert all(len(given) == 1 for given in answers.values())


def test_whatever_is_asked_of_nothing_the_answer_says_so(views):
    for view in views:
        if view.view.condition != "nothing":
            continue
        for triple in view.triples():
            assert triple.answer in (NOTHING, "no", "0") or triple.answer.startswith("there is no ")


def test_what_is_said_to_be_absent_is_nowhere_in_the_picture(views):
    for view in views:
        seen = [part for part in view.parts if is_visible(part)]
        for triple in view.triples():
            if triple.task != "absent":
                continue
            words = triple.answer.removeprefix("there is no ").split()
            shown = [{part.kind, part.label, part.colour, "object"} & set(words) for part in seen]
            assert not any(set(words) <= names for names in shown), triple


@pytest.mark.parametrize("condition", PLACED)
def test_a_placed_scene_lies_inside_and_is_smaller(condition):
    for index in range(60):
        view = make_view("train", index, condition)
        corners = np.array([(x, y) for x in (0, 1) for y in (0, 1)])
        square = np.column_stack([corners, np.ones(4)]) @ view.view.matrix.T
        square = square[:, :2] / square[:, 2:]
        assert square.min() > 0
        assert square.max() < 1
        assert all(0 < part.x < 1 and 0 < part.y < 1 for part in view.parts)
        before, after = (np.mean([part.radius for part in parts]) for parts in (view.scene.parts, view.parts))
        assert after < before


def _colour_at(image: Image.Image, part: Part) -> np.ndarray:
    pixels = np.asarray(image, np.float32)
    y, x = round(part.y * image.height), round(part.x * image.width)
    return pixels[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))


@pytest.mark.parametrize("condition", ["plain", "paper", "small", "crop", "texture"])
def test_the_parts_are_where_the_picture_shows_them(condition):
    """Red is the largest channel at a red thing's centre, green at a green one's, blue at a blue one's."""
    right = []
    for index in range(150):
        view = make_view("train", index, condition, kinds={"objects": 1})
        seen = [
            part
            for part in view.parts
            if part.colour in ("red", "green", "blue")
            and part.kind == "object"
            and part.label in ("circle", "square", "diamond", "cross")
            and is_whole(part)
        ]
        if seen:
            image = view.render(192)
            channels = ("red", "green", "blue")
            right += [channels[int(_colour_at(image, part).argmax())] == part.colour for part in seen]
    assert len(right) > 20
    assert np.mean(right) > 0.97


def test_a_crop_is_most_often_about_a_thing_and_sometimes_about_none(views):
    answers = [
        next((t.answer for t in view.triples() if t.question in ("What is this?", "What is it?")), None)
        for view in views
        if view.view.condition == "crop"
    ]
    things = [answer for answer in answers if answer not in (None, NOTHING)]
    assert len(things) > 2 * answers.count(NOTHING) > 0


def _object(x: float, y: float, radius: float = 0.1) -> Part:
    return Part("object", "circle", "red", x, y, radius)


def test_this_is_the_thing_in_the_middle_or_the_only_one():
    middle, aside, corner = _object(0.5, 0.52), _object(0.85, 0.5), _object(0.15, 0.15)
    assert at_pin([middle, aside, corner]) == (True, middle)
    assert at_pin([corner]) == (True, corner)
    assert at_pin([aside, corner]) == (False, None)
    assert at_pin([]) == (True, None)
    assert at_pin([_object(0.0, 0.0)]) == (True, None)  # a rim at the edge is not what one points at
    assert at_pin([_object(3.0, 0.5)]) == (True, None)
    close = _object(0.5 + 0.12, 0.5, 0.1), _object(0.5 - 0.13, 0.5, 0.1)
    assert at_pin(close) == (False, None)


def test_photographs_are_taken_where_there_are_any():
    magenta = Image.new("RGB", (300, 200), (255, 0, 255))
    shares = []
    for index in range(12):
        pixels = np.asarray(make_view("train", index, "texture").render(64, [magenta]), np.float32)
        shares.append(((pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] > 150)).mean())
    assert sum(share > 0.4 for share in shares) >= 3
    assert sum(share < 0.2 for share in shares) >= 2  # textures still come among them


def test_textures_have_the_spectrum_of_photographs():
    """Amplitudes fall about as 1 / frequency: power between frequency to the -1 and to the -4."""
    slopes = []
    for index in range(20):
        image = photographic(stream(index, "texture"), 128).convert("L")
        power = np.abs(np.fft.fft2(np.asarray(image, np.float32))) ** 2
        radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128) * 128] * 2))
        bands = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (2, 4, 8, 16)]
        slopes.append(np.polyfit(np.log([2, 4, 8, 16]), np.log(bands), 1)[0])
    assert -4.5 < np.median(slopes) < -1


def test_fractal_noise_has_about_one_deviation():
    deviations = [fractal(stream(n, "noise"), 96, 1.0).std() for n in range(20)]
    assert 0.5 < np.mean(deviations) < 1.6


def test_an_unknown_condition_is_refused():
    with pytest.raises(InputError, match="there is no condition 'fog': give one of plain, "):
        make_view("test", 0, "fog")
    with pytest.raises(InputError, match="32 to 2048"):
        make_view("test", 0, "paper").render(7)


def test_answers_of_colour_and_shape_are_balanced(views):
    colours = Counter(t.answer for v in views for t in v.triples() if t.question == "What colour is this?")
    del colours[NOTHING]
    assert len(colours) == 8
    assert max(colours.values()) < 3.5 * min(colours.values())
