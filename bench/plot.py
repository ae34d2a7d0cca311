"""A picture of a comparison: bars for each gateway, one panel a figure, as an SVG that any browser shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from bench.comparison import OURS, Side

_PANELS: tuple[tuple[str, str, Callable[[Side], float]], ...] = (
    ("messages/s, to the receipt", "more is better", lambda side: side.receipted_per_s),
    ("CPU of the gateway, µs for each message", "less is better", lambda side: side.cpu_us),
    ("from the call to submit_sm, ms, median", "less is better", lambda side: side.submit_p50_ms),
    ("from the call to submit_sm, ms, 99 of 100", "less is better", lambda side: side.submit_p99_ms),
    ("memory of the gateway, MB, peak", "less is better", lambda side: side.peak_bytes / 1e6),
)
_WIDTH, _LEFT, _RIGHT = 760, 170, 80
_BAR, _GAP, _HEAD = 18, 6, 34
_OURS, _OTHERS = "#1f6f8b", "#b9bfc4"


def svg(sides: Sequence[Side], title: str) -> str:
    """Return the picture. `title` is shown above it."""
    panel = _HEAD + len(sides) * (_BAR + _GAP) + 12
    height = 40 + panel * len(_PANELS)
    size = f'width="{_WIDTH}" height="{height}"'
    view = f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view}>',
        f'<rect {size} fill="#ffffff"/>',
        _text(12, 24, title, size=15),
    ]
    for number, (name, better, figure) in enumerate(_PANELS):
        parts += _panel(40 + number * panel, f"{name} ({better})", [(side.gateway, figure(side)) for side in sides])
    return "\n".join([*parts, "</svg>", ""])


def _panel(top: int, name: str, bars: Sequence[tuple[str, float]]) -> list[str]:
    most = max(value for _, value in bars) or 1.0
    parts = [_text(12, top + 20, name, size=13)]
    for row, (gateway, value) in enumerate(bars):
        y = top + _HEAD + row * (_BAR + _GAP)
        width = (_WIDTH - _LEFT - _RIGHT) * value / most
        colour = _OURS if gateway.startswith(OURS) else _OTHERS
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
        parts.append(_text(24, y + 13, gateway))
        parts.append(_text(int(_LEFT + width) + 6, y + 13, _figure(value)))
    return parts


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: int, y: int, text: str, size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="#1b1f23">{escape(text)}</text>'
