"""docs/images/floor.svg: how soon the floor answers against how often it cuts a pause, as the threshold moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

FILE = Path(__file__).resolve().parents[3] / "docs" / "images" / "floor.svg"
WIDTH, HEIGHT, MARGIN = 420, 300, 56
LONGEST_MS = 1_600
TARGET_MS, TARGET_SHARE = 600, 0.10
INK, BLUE, ORANGE, GREEN = "#333", "#1f6fb2", "#d9730d", "#e3f2e1"


@dataclass(frozen=True, slots=True)
class Point:
    """A floor that answers after `latency_ms` (median) and takes this share of the pauses."""

    label: str
    latency_ms: float
    share: float


OTHERS = (Point("gpt-realtime", 1_470, 0.01), Point("Moshi", 260, 0.98))
"""As published, on Full-Duplex-Bench v1."""


def draw(swept: Sequence[Point], adapting: Sequence[Point], marked: Sequence[Point]) -> str:
    """The picture. `swept`: the plain threshold, joined by a line; `adapting`: the threshold from which the floor
    adapts to the turn and the person; `marked`: the floor as it is.
    """
    here = [
        _line(swept, BLUE),
        _line(adapting, ORANGE),
        *(_dot(each, BLUE, 3) for each in swept),
        *(_dot(replace(each, label=""), ORANGE, 2) for each in adapting),
        *(_dot(each, ORANGE, 5) for each in marked),
    ]
    other = [_dot(each, INK, 4) for each in OTHERS]
    panels = _panel(0, "this floor, flat contour, 20 dB", here) + _panel(WIDTH, "other data: as published", other)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="{INK}">\n<rect width="100%" height="100%" fill="white"/>\n{panels}</svg>\n'
    )


def write(swept: Sequence[Point], adapting: Sequence[Point], marked: Sequence[Point], file: Path = FILE) -> None:
    """Draw it where the documentation looks for it."""
    file.write_text(draw(swept, adapting, marked))


def _panel(left: int, title: str, content: list[str]) -> str:
    right, bottom = WIDTH - 16, HEIGHT - MARGIN + 16
    box_right, box_top = _across(TARGET_MS), _down(TARGET_SHARE)
    parts = [
        f'<rect x="{MARGIN}" y="{box_top}" width="{box_right - MARGIN}" height="{bottom - box_top}" fill="{GREEN}"/>',
        f'<path d="M{MARGIN} 32V{bottom}H{right}" fill="none" stroke="{INK}"/>',
        f'<text x="{MARGIN}" y="20" font-weight="bold">{title}</text>',
        f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">reply after the end of speech, median, ms</text>',
        '<text x="6" y="30">taken</text><text x="6" y="44">pauses</text>',
        *(f'<text x="{_across(ms)}" y="{bottom + 15}" text-anchor="middle">{ms}</text>' for ms in range(0, 1_601, 400)),
        *(f'<text x="{MARGIN - 5}" y="{_down(p / 100) + 4}" text-anchor="end">{p} %</text>' for p in (0, 10, 50, 100)),
        *content,
    ]
    return f'<g transform="translate({left} 0)">\n' + "\n".join(parts) + "\n</g>\n"


def _line(points: Sequence[Point], colour: str) -> str:
    line = " ".join(f"{_x(each)},{_y(each)}" for each in points)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _dot(point: Point, colour: str, radius: int) -> str:
    x, y = _x(point), _y(point)
    # Beyond the middle of the axis a long name would leave the picture.
    right = point.latency_ms > LONGEST_MS * 0.75
    place = f'x="{x - 7}" text-anchor="end"' if right else f'x="{x + 7}"'
    label = f'<text {place} y="{y - 5}" fill="{colour}">{point.label}</text>'
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}"/>{label}'


def _x(point: Point) -> float:
    return _across(point.latency_ms)


def _y(point: Point) -> float:
    return _down(point.share)


def _across(ms: float) -> float:
    return round(MARGIN + (WIDTH - 16 - MARGIN) * ms / LONGEST_MS, 1)


def _down(share: float) -> float:
    return round(HEIGHT - MARGIN + 16 - (HEIGHT - MARGIN - 16) * share, 1)
