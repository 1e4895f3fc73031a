"""Small SVG plots, the same bytes for the same figures: grouped bars, and lines over named points.

Written by hand because a plotting library is a large dependency for two kinds of picture, and writes files
that differ from run to run.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 760
LABEL_WIDTH: Final = 210
BAR_HEIGHT: Final = 13
GAP: Final = 9
TOP: Final = 58
BOTTOM: Final = 34
PLOT_HEIGHT: Final = 260
COLORS: Final[Mapping[str, str]] = {
    "redis": "#c0392b",
    "grapevine": "#5b3fa0",
    "floor": "#7f8c8d",
    "memcached": "#1e8449",
}
OTHER_COLORS: Final = ("#5b3fa0", "#c0392b", "#9b85d6", "#e59a91", "#7f8c8d", "#1e8449", "#b7950b", "#2471a3")


def color(name: str, number: int) -> str:
    return COLORS.get(name, OTHER_COLORS[number % len(OTHER_COLORS)])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _frame(title: str, names: Sequence[str], height: float, body: Sequence[str]) -> str:
    legend: list[str] = []
    x = 10.0
    for number, name in enumerate(names):
        legend.append(f'<rect x="{x:.1f}" y="30" width="11" height="11" fill="{color(name, number)}"/>')
        legend.append(_text(x + 15, 40, name))
        x += 32 + 7.2 * len(name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}"'
            ' font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',
            _text(10, 20, title, 'font-size="15" font-weight="bold"'),
            *legend,
            *body,
            "</svg>\n",
        ]
    )


def bars(
    title: str,
    groups: Sequence[tuple[str, Mapping[str, float]]],
    *,
    marks: Mapping[str, float] | None = None,
    reference: float | None = None,
) -> str:
    """Horizontal bars in groups.

    Args:
        groups: (label, value by series) from top to bottom.
        marks: a target by label, drawn across the bars of its group.
        reference: one line across all groups.
    """
    names = list(dict.fromkeys(name for _, values in groups for name in values))
    marks = marks or {}
    highest = max([value for _, values in groups for value in values.values()] + list(marks.values()))
    highest = max(highest, reference or 0.0) or 1.0
    scale = (WIDTH - LABEL_WIDTH - 70) / highest
    body: list[str] = []
    y = float(TOP)
    for label, values in groups:
        tall = BAR_HEIGHT * max(1, len(values))
        body.append(_text(LABEL_WIDTH - 8, y + tall / 2 + 4, label, 'text-anchor="end"'))
        for row, (name, value) in enumerate(values.items()):
            at = y + row * BAR_HEIGHT
            body.append(
                f'<rect x="{LABEL_WIDTH}" y="{at:.1f}" width="{value * scale:.1f}"'
                f' height="{BAR_HEIGHT - 2}" fill="{color(name, names.index(name))}"/>'
            )
            body.append(
                _text(LABEL_WIDTH + value * scale + 4, at + 10, _figure(value), 'font-size="10" fill="#555"')
            )
        if label in marks:
            x = LABEL_WIDTH + marks[label] * scale
            body.append(
                f'<path d="M{x:.1f} {y - 3:.1f}V{y + tall + 1:.1f}" stroke="#222" stroke-width="1.5"/>'
            )
        y += tall + GAP
    if reference is not None:
        x = LABEL_WIDTH + reference * scale
        body.append(f'<path d="M{x:.1f} {TOP - 6}V{y:.1f}" stroke="#222" stroke-dasharray="4 3"/>')
    return _frame(title, names, y + 8, body)


def lines(title: str, points: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Lines over named points, on a logarithmic scale.

    Args:
        series: as many values as points, above 0; zeros are drawn at the bottom.
    """
    values = [value for row in series.values() for value in row if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    left, right = 70.0, WIDTH - 20.0
    bottom = TOP + PLOT_HEIGHT

    def x_of(number: int) -> float:
        return left + (right - left) * number / max(1, len(points) - 1)

    def y_of(value: float) -> float:
        share = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
        return bottom - share * PLOT_HEIGHT

    body = []
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        body.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#ddd"/>')
        body.append(_text(left - 6, y + 4, f"{10.0**power:,g} {unit}", 'text-anchor="end" font-size="10"'))
    for number, point in enumerate(points):
        body.append(_text(x_of(number), bottom + 18, point, 'text-anchor="middle" font-size="10"'))
    for index, (name, row) in enumerate(series.items()):
        path = "L".join(f"{x_of(number):.1f} {y_of(value):.1f}" for number, value in enumerate(row))
        body.append(
            f'<path d="M{path}" fill="none" stroke="{color(name, index)}" stroke-width="2"'
            + (' stroke-dasharray="5 3"' if "quiet" in name else "")
            + "/>"
        )
    return _frame(title, list(series), bottom + BOTTOM, body)
