"""Lines over steps, as the numbers that an SVG needs: scales, ticks, points.

chart = draw("Validation PSNR", [Line("pixel", points)], y_label="dB", level=Level("bicubic", 28.4))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 240, 64, 16, 12, 32
MOST_POINTS = 300
LOG_FROM = 30.0  # largest over smallest value from which an axis of powers of ten is read more easily


@dataclass(frozen=True)
class Line:
    """A name and its points (x, y), x not falling."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with."""

    name: str
    value: float


@dataclass(frozen=True)
class Tick:
    """`at` in pixels."""

    at: float
    text: str


@dataclass(frozen=True)
class Drawn:
    """A line in pixels, as SVG's `points`; `last` is the value at its end."""

    name: str
    points: str
    last: str


@dataclass(frozen=True)
class Chart:
    """All that the template draws. `summary` says in words what the lines show."""

    title: str
    y_label: str
    lines: tuple[Drawn, ...]
    level: Drawn | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    logarithmic: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def draw(title: str, lines: Sequence[Line], *, y_label: str, level: Level | None = None) -> Chart | None:
    """Places the lines.

    Args:
        lines: points that are not finite are left out.
        y_label: the unit.
        level: a line to compare with.

    Returns:
        None where there is no finite point at all. The y axis is logarithmic where all values are above 0 and the
        largest is at least LOG_FROM times the smallest.
    """
    kept = [Line(line.name, [p for p in line.points if math.isfinite(p[1])]) for line in lines]
    kept = [Line(line.name, thinned(line.points)) for line in kept if line.points]
    if not kept:
        return None
    xs = [x for line in kept for x, _ in line.points]
    ys = [y for line in kept for _, y in line.points] + ([level.value] if level else [])
    logarithmic = min(ys) > 0 and max(ys) / min(ys) >= LOG_FROM
    scaled: Callable[[float], float] = math.log10 if logarithmic else float
    x0, x1 = _wide(min(xs), max(xs))
    y0, y1 = _wide(scaled(min(ys)), scaled(max(ys)))
    y_values = _powers(y0, y1) if logarithmic else nice_ticks(y0, y1, 5)
    y0, y1 = min(y0, scaled(y_values[0])), max(y1, scaled(y_values[-1]))

    def px(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return TOP + (y1 - scaled(y)) / (y1 - y0) * (HEIGHT - BOTTOM - TOP)

    def drawn(name: str, points: Sequence[tuple[float, float]]) -> Drawn:
        return Drawn(name, " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points), f"{points[-1][1]:.4g}")

    return Chart(
        title=title,
        y_label=y_label,
        lines=tuple(drawn(line.name, line.points) for line in kept),
        level=drawn(level.name, [(x0, level.value), (x1, level.value)]) if level else None,
        x_ticks=_ticks([x for x in nice_ticks(x0, x1, 6) if x0 <= x <= x1], px, digits=6),
        y_ticks=_ticks(y_values, py, digits=4),
        summary="; ".join(f"{n.name} from {n.points[0][1]:.4g} to {n.points[-1][1]:.4g}" for n in kept),
        logarithmic=logarithmic,
    )


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: the means of equal groups, the last point as it is."""
    if len(points) <= most:
        return list(points)
    size = math.ceil((len(points) - 1) / (most - 1))
    groups = [points[i : min(i + size, len(points) - 1)] for i in range(0, len(points) - 1, size)]
    means = [(g[len(g) // 2][0], math.fsum(y for _, y in g) / len(g)) for g in groups]
    return [*means, points[-1]]


def _ticks(values: Sequence[float], place: Callable[[float], float], *, digits: int) -> tuple[Tick, ...]:
    """Each value at its place, with so many digits, or more where two values would read the same."""
    digits = next((n for n in range(digits, 12) if len({f"{v:.{n}g}" for v in values}) == len(values)), 12)
    return tuple(Tick(place(v), f"{v:.{digits}g}") for v in values)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten, rising, that enclose the range.

    Args:
        low, high: the range; low < high.
        count: 1 or more.
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    return [10.0**i for i in range(math.floor(low), math.ceil(high) + 1)]


def _wide(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty, so that a single point or a constant can be drawn."""
    if high - low > 1e-12 * max(1.0, abs(high)):
        return low, high
    half = abs(low) / 20 or 0.5
    return low - half, high + half
