"""A picture of what grows, or does not: one small panel a figure, each a line, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 340, 190  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 44, 34
_COLUMNS = 2
_LINE, _GRID, _INK = "#1f6f8b", "#d7dbde", "#1b1f23"

Point = tuple[int, float]


def svg(panels: Mapping[str, Sequence[Point]], title: str, below: str, *, logarithmic: bool = True) -> str:
    """Return the picture. `panels`: by its name, the points of each; `below`: what the horizontal axes count."""
    scale = math.log10 if logarithmic else float
    rows = math.ceil(len(panels) / _COLUMNS)
    size = f'width="{_COLUMNS * _WIDTH}" height="{40 + rows * _HEIGHT}"'
    view = f'viewBox="0 0 {_COLUMNS * _WIDTH} {40 + rows * _HEIGHT}" font-family="sans-serif"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view}>',
        f'<rect {size} fill="#ffffff"/>',
        _text(12, 26, title, size=15),
    ]
    for number, (name, points) in enumerate(panels.items()):
        row, column = divmod(number, _COLUMNS)
        parts += _panel(column * _WIDTH, 40 + row * _HEIGHT, name, points, below, scale)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    left: int, top: int, name: str, points: Sequence[Point], below: str, scale: Callable[[float], float]
) -> list[str]:
    most = max((value for _, value in points), default=0.0) * 1.2 or 1.0
    first, last = scale(points[0][0]), scale(points[-1][0])
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = top + _TOP + height

    def place(point: Point) -> tuple[float, float]:
        along = (scale(point[0]) - first) / (last - first or 1.0)
        return left + _LEFT + along * width, base - point[1] / most * height

    parts = [_text(left + 12, top + 22, name, size=12)]
    for share in (0.0, 0.5, 1.0):
        y = base - share * height
        parts.append(f'<path d="M{left + _LEFT} {y:.1f}h{width}" stroke="{_GRID}"/>')
        parts.append(_text(left + _LEFT - 6, y + 4, figure(most * share), size=10, anchor="end"))
    places = [place(point) for point in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    for (x, y), (at, _) in zip(places, points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_LINE}"/>')
        parts.append(_text(x, base + 14, f"{at:,}" if at < 1000 else _power(at), size=10, anchor="middle"))
    parts.append(_text(left + _LEFT + width / 2, base + 28, below, size=10, anchor="middle"))
    return parts


def _power(number: int) -> str:
    exponent = math.log10(number)
    if exponent != round(exponent):
        return f"{number:,}"
    return "10" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(exponent)))


def figure(value: float) -> str:
    """Return a figure as people read it."""
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, size: int, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{_INK}">{escape(text)}</text>'
