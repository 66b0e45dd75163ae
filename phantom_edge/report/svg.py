"""Charts as inline SVG: lines with quartiles, stacked bars, dots; colours are the page's CSS classes.

A chart is a string of its own, so that a page needs no script and no file beside it; it scales with the page
and follows its light or dark colours, because every stroke and fill is a class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
Place = tuple[float, float]
"""Pixels from the left and from the top."""
COLOURS = 6  # series classes s0..s5, then again
BAR, GAP = 22, 14
TICKS = 5


@dataclass(frozen=True)
class Series:
    """A named line: points (x, y, low, high) with the quartiles of y, as marks or (``band``) an area."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    band: bool = False
    colour: int = 0


@dataclass(frozen=True)
class Dot:
    """A point with its interval in y; ``label`` stands beside it, a pointer over it shows ``name``."""

    label: str
    name: str
    x: float
    y: float
    low: float
    high: float
    filled: bool = True
    ringed: bool = False
    colour: int = 0


@dataclass(frozen=True)
class Figure:
    """A chart with its legend (colour, name) and what it shows in words."""

    title: str
    svg: str
    key: tuple[tuple[int, str], ...]
    caption: str


@dataclass(frozen=True)
class Bar:
    """A named bar of (part, value) pieces, and the text behind it."""

    name: str
    parts: tuple[tuple[str, float], ...]
    text: str = ""


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers over a range, about ``count`` of them: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0, 87)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * k for k in (1, 2, 5) if power * k >= rough * 0.55), power * 10)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def lines(title: str, series: Sequence[Series], x_title: str, y_title: str) -> str:
    """A line chart from zero. Raises :class:`ValueError` without a point."""
    points = [p for s in series for p in s.points]
    if not points:
        raise ValueError("no points")
    x_low, x_high = min(p[0] for p in points), max(p[0] for p in points)
    y_high = max(p[3] for p in points) * 1.05 or 1.0
    scale = _Scale(x_low, x_high if x_high > x_low else x_low + 1, y_high)
    behind_first = sorted(series, key=lambda s: not s.band)
    body = [_axes(scale, x_title, y_title), *(_series(s, scale) for s in behind_first)]
    return _figure(title, HEIGHT, body, _described(series, y_title))


def scatter(title: str, dots: Sequence[Dot], x_title: str, y_title: str) -> str:
    """Dots over axes that span them, not from zero. Raises :class:`ValueError` without a dot."""
    if not dots:
        raise ValueError("no dots")
    x_low, x_high = _spanned([dot.x for dot in dots])
    y_low, y_high = _spanned([value for dot in dots for value in (dot.low, dot.high)])
    scale = _Scale(x_low, x_high, y_high, y_low)
    labels = _label_places([(scale.x(dot.x), scale.y(dot.y)) for dot in dots])
    drawn = (_dot(dot, scale, y_title, place) for dot, place in zip(dots, labels, strict=True))
    body = [_axes(scale, x_title, y_title), *drawn]
    words = "; ".join(f"{dot.name}: {_short(dot.y)} {y_title} at {_short(dot.x)} {x_title}" for dot in dots)
    return _figure(title, HEIGHT, body, words)


def bars(title: str, rows: Sequence[Bar], unit: str) -> str:
    """Horizontal stacked bars from zero, in the order given. Raises :class:`ValueError` without a bar."""
    if not rows:
        raise ValueError("no bars")
    high = max(sum(v for _, v in bar.parts) for bar in rows) or 1.0
    height = TOP + len(rows) * (2 * BAR + GAP) + 4
    parts, body = [part for part, _ in rows[0].parts], []
    for n, bar in enumerate(rows):
        top = TOP + n * (2 * BAR + GAP)
        body.append(f'<text class="t" x="0" y="{top + 14}">{escape(bar.name)}</text>')
        x = 0.0
        for part, value in bar.parts:
            width = value / high * (WIDTH - 130)
            colour = parts.index(part) % COLOURS if part in parts else 0
            text = escape(f"{part}: {_short(value)} {unit}")
            place = f'x="{x:.1f}" y="{top + BAR}" width="{width:.1f}" height="{BAR}"'
            body.append(f'<rect class="f{colour}" {place}><title>{text}</title></rect>')
            x += width
        body.append(f'<text class="t" x="{x + 8:.1f}" y="{top + BAR + 16}">{escape(bar.text)}</text>')
    return _figure(title, height, body, "; ".join(f"{bar.name}: {bar.text}" for bar in rows))


@dataclass(frozen=True)
class _Scale:
    x_low: float
    x_high: float
    y_high: float
    y_low: float = 0.0

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def _axes(scale: _Scale, x_title: str, y_title: str) -> str:
    out, floor = [], HEIGHT - BOTTOM
    for value, text in _labelled(ticks(scale.y_low, scale.y_high)):
        y = scale.y(value)
        out.append(f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text class="t e" x="{LEFT - 8}" y="{y + 4:.1f}">{text}</text>')
    for value, text in _labelled(ticks(scale.x_low, scale.x_high, 7)):
        out.append(f'<text class="t m" x="{scale.x(value):.1f}" y="{floor + 18}">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text class="t m" x="{middle:.0f}" y="{HEIGHT - 6}">{escape(x_title)}</text>')
    turn = (TOP + floor) / 2
    out.append(f'<text class="t m" transform="translate(14 {turn:.0f}) rotate(-90)">{escape(y_title)}</text>')
    return "".join(out)


def _labelled(values: Sequence[float]) -> list[tuple[float, str]]:
    """Each tick with its text: with as many decimals as tell it from the next one."""
    texts = [_short(value) for value in values]
    if len(set(texts)) < len(texts):
        decimals = max(0, -math.floor(math.log10(values[1] - values[0])))
        texts = [f"{value:,.{decimals}f}" for value in values]
    return list(zip(values, texts, strict=True))


def _series(series: Series, scale: _Scale) -> str:
    colour, out = series.colour % COLOURS, []
    dots = [(scale.x(x), scale.y(y), scale.y(low), scale.y(high)) for x, y, low, high in series.points]
    if series.band and len(dots) > 1:
        edge = [*((x, high) for x, _, _, high in dots), *((x, low) for x, _, low, _ in reversed(dots))]
        out.append(f'<polygon class="f{colour} a" points="{_path(edge)}"/>')
    elif len(dots) <= 40:  # a quartile mark per point; a soak's curve has too many
        for x, _, a, b in dots:
            out.append(f'<line class="s{colour}" x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>')
    dash = " d" if series.band else ""
    out.append(f'<polyline class="s{colour}{dash}" points="{_path([(x, y) for x, y, _, _ in dots])}"/>')
    for (x, y, _, _), point in zip(dots, series.points, strict=True):
        if len(dots) <= 40:
            title = f"<title>{escape(f'{series.name}: {_short(point[1])} at {_short(point[0])}')}</title>"
            out.append(f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">{title}</circle>')
    return "".join(out)


def _spanned(values: Sequence[float]) -> tuple[float, float]:
    """The range of values with a margin, so that no dot is on the frame; never below zero for none below."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low - margin if low < 0 else max(0.0, low - margin)), high + margin


def _label_places(dots: Sequence[Place]) -> list[Place]:
    """Beside each dot a place that is free of dots and of earlier labels, or the first one."""
    taken, places = list(dots), list[Place]()
    for x, y in dots:
        around = [(x + dx, y + dy) for dx in (12.0, -24.0) for dy in (-8.0, 16.0, 4.0)]
        free = (place for place in around if all(_apart(place, other) for other in taken if other != (x, y)))
        places.append(next(free, around[0]))
        taken.append(places[-1])
    return places


def _apart(label: Place, other: Place) -> bool:
    """Whether a label that begins at one place stands clear of what is at the other."""
    return abs(label[0] + 7 - other[0]) > 16 or abs(label[1] - 4 - other[1]) > 11


def _dot(dot: Dot, scale: _Scale, y_title: str, label: Place) -> str:
    colour = dot.colour % COLOURS
    x, y, low, high = scale.x(dot.x), scale.y(dot.y), scale.y(dot.low), scale.y(dot.high)
    out = []
    if dot.low != dot.high:
        out.append(f'<line class="s{colour} i" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
    if dot.ringed:
        out.append(f'<circle class="s{colour} h" cx="{x:.1f}" cy="{y:.1f}" r="10"/>')
    kind = f"f{colour}" if dot.filled else f"s{colour} h"
    title = f"<title>{escape(f'{dot.name}: {_short(dot.y)} {y_title}')}</title>"
    out.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5">{title}</circle>')
    out.append(f'<text class="t" x="{label[0]:.1f}" y="{label[1]:.1f}">{escape(dot.label)}</text>')
    return "".join(out)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _described(series: Sequence[Series], y_title: str) -> str:
    ends = ((s.name, _short(s.points[0][1]), _short(s.points[-1][1])) for s in series)
    return "; ".join(f"{name}: {first} to {last} {y_title}" for name, first, last in ends)


def _figure(title: str, height: float, body: Sequence[str], described: str) -> str:
    label = escape(f"{title}. {described}")
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">'
    return head + "".join(body) + "</svg>"


def _short(value: float) -> str:
    if value and abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
