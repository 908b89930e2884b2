"""The panel's screens as SVG: one picture, or many as an animation.

An animation is a strip of all frames, side by side, that moves on by one frame at a time. Each
row of the terminal that occurs is written once; rows that all frames share are not in the strip.
Block characters are drawn as shapes, so that no font can leave gaps between them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, groupby
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.app import App

from rtvc.tui.colour_map import Rgb

CELL, LINE = 9, 18
"""Width and height of a character in pixels."""
MARGIN = 12
_FONT, _BASELINE = 15, 14
_BLOCKS = {"█": (0, 8), "▀": (0, 4)} | {
    block: (8 - eighths, 8) for eighths, block in enumerate("▁▂▃▄▅▆▇", 1)
}
"""Upper and lower edge of a block character, in eighths of its height."""
_BARS = {"▐": (4, 8), "▕": (7, 8)} | {
    block: (0, eighths) for eighths, block in enumerate("▏▎▍▌▋▊▉", 1)
}
"""Left and right edge of a block character, in eighths of its width."""
_HALF = 4
_SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}
_SHAPES = re.compile(f"([{''.join([*_BLOCKS, *_BARS, *_SHADES])}])\\1*")
"""A block character, repeated."""
_WORDS = re.compile(r"\S+(?: {1,2}\S+)*")
"""Text that is placed together; longer gaps must not depend on a font."""


class Look(NamedTuple):
    """The style of a run of characters."""

    colour: Rgb
    background: Rgb
    bold: bool = False


Row = tuple[tuple[str, Look], ...]
"""Runs of characters, from left to right."""
Frame = tuple[Row, ...]


def frame_of(app: App[None]) -> Frame:
    """Return what is on the screen of an app, with its dialogs."""
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    assert isinstance(update, LayoutUpdate)

    def look(segment: Segment) -> Look:
        return _look(segment.style or Style(), app)

    return tuple(
        tuple(
            ("".join(segment.text for segment in run), style)
            for style, run in groupby(chain.from_iterable(strips), look)
        )
        for strips in update.strips
    )


def _look(style: Style, app: App[None]) -> Look:
    def rgb(colour: Color | None, default: Rgb) -> Rgb:
        return default if colour is None else colour.get_truecolor(app.ansi_theme)

    colour = rgb(style.color, app.ansi_theme.foreground_color)
    background = rgb(style.bgcolor, app.ansi_theme.background_color)
    if style.reverse:
        colour, background = background, colour
    return Look(colour, background, bool(style.bold))


def film(frames: Sequence[Frame], frame_s: float, *, still: int = 0, title: str = "rtvc") -> str:
    """Return frames of one size as an SVG that repeats them.

    Parameters
    ----------
    frames
        At least one.
    frame_s
        Duration of a frame in seconds.
    still
        Frame that is shown where animations are switched off.
    title
        What the picture shows, for screen readers.
    """
    rows = len(frames[0])
    width = CELL * max(sum(cell_len(text) for text, _ in row) for row in frames[0])
    height, count = LINE * rows, len(frames)
    page = Counter(style.background for row in frames[0] for _, style in row).most_common(1)[0][0]
    sheet = _Sheet(page)
    shared = [y for y in range(rows) if len({frame[y] for frame in frames}) == 1]
    background = [sheet.use(frames[0][y], y) for y in shared]
    strip = [
        f'<g transform="translate({number * width})">'
        + "".join(sheet.use(row, y) for y, row in enumerate(frame) if y not in shared)
        + "</g>"
        for number, frame in enumerate(frames)
    ]
    moving = (
        f".film{{animation:film {count * frame_s:g}s steps({count}) infinite}}"
        f"@keyframes film{{to{{transform:translateX({-count * width}px)}}}}"
        "@media(prefers-reduced-motion:reduce){.film{animation:none;"
        f"transform:translateX({-still * width}px)}}}}"
    )
    outer = width + 2 * MARGIN, height + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {outer[0]} {outer[1]}" '
            f'role="img"><title>{escape(title)}</title>',
            f"<style>{sheet.styles()}{moving if count > 1 else ''}</style>",
            f"<defs>{''.join(sheet.definitions)}</defs>",
            f'<rect width="{outer[0]}" height="{outer[1]}" rx="8" fill="{_hex(page)}"/>',
            f'<svg x="{MARGIN}" y="{MARGIN}" width="{width}" height="{height}">',
            *background,
            f'<g class="film">{"".join(strip)}</g>',
            "</svg>",
            "</svg>\n",
        ]
    )


class _Sheet:
    """The rows that occur, each with a name, and the colours that they use."""

    def __init__(self, page: Rgb) -> None:
        self._page = page
        self._colours: dict[Rgb, str] = {}
        self._rows: dict[Row, str] = {}
        self.definitions: list[str] = []

    def use(self, row: Row, y: int) -> str:
        """Return a reference to a row, which is drawn at its first use."""
        if row not in self._rows:
            self._rows[row] = f"r{len(self._rows)}"
            shapes, texts = "".join(self._shapes(row)), "".join(self._texts(row))
            # The origin is where text stands; shapes have cells as their unit.
            shapes = f'<g transform="translate(0-{_BASELINE})scale({CELL})">{shapes}</g>' * bool(
                shapes
            )
            self.definitions.append(f'<g id="{self._rows[row]}">{shapes}{texts}</g>\n')
        return f'<use href="#{self._rows[row]}" y="{y * LINE + _BASELINE}"/>'

    def styles(self) -> str:
        """Return the style sheet of the rows that were used."""
        fonts = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
        return (
            f"text{{font:{_FONT}px {fonts};fill:currentColor;white-space:pre}}"
            ".b{font-weight:bold}"
            "path{fill:none;stroke:currentColor;stroke-width:1;shape-rendering:crispEdges}"
            + "".join(f".h{n}{{stroke-width:{n / 4:g}}}" for n in range(1, 9))
            + "".join(f".{name}{{color:{_hex(rgb)}}}" for rgb, name in self._colours.items())
        )

    def _shapes(self, row: Row) -> Iterator[str]:
        """Draw backgrounds and blocks, one path for all that share colour and height."""
        behind, blocks = _Strokes(), _Strokes()
        for left, text, style in _placed(row):
            halves = not text.strip("▀")
            if style.background != self._page:
                # Halves need none behind them, and join with other halves.
                strokes = blocks if halves else behind
                strokes.add(style.background, left, cell_len(text), 4 if halves else 0)
            for run in _SHAPES.finditer(text):
                column, length = left + cell_len(text[: run.start()]), len(run[0])
                if edges := _BLOCKS.get(run[1]):
                    blocks.add(style.colour, column, length, *edges)
                elif share := _SHADES.get(run[1]):
                    blocks.add(_mixed(style.background, style.colour, share), column, length)
                else:
                    start, end = _BARS[run[1]]
                    for cell in range(length):
                        blocks.add(style.colour, column + cell + start / 8, (end - start) / 8)
        for (colour, height), path in chain(behind.paths(), blocks.paths()):
            name = f"{self._colour(colour)}{f' h{height}' * (height != _HALF)}"
            yield f'<path class="{name}" d="{path}"/>'

    def _texts(self, row: Row) -> Iterator[str]:
        for left, text, style in _placed(row):
            name = f"{self._colour(style.colour)}{' b' * style.bold}"
            for words in _WORDS.finditer(_SHAPES.sub(lambda run: " " * len(run[0]), text)):
                x = CELL * (left + cell_len(text[: words.start()]))
                width = CELL * cell_len(words[0])
                length = f' textLength="{width}"' if width > CELL else ""
                yield f'<text class="{name}" x="{x}"{length}>'
                yield f"{escape(words[0])}</text>"

    def _colour(self, rgb: Rgb) -> str:
        return self._colours.setdefault(rgb, f"c{len(self._colours)}")


def _placed(row: Row) -> Iterator[tuple[int, str, Look]]:
    """Yield runs with their columns."""
    left = 0
    for text, style in row:
        yield left, text, style
        left += cell_len(text)


class _Strokes:
    """Horizontal strokes by colour, and by upper and lower edge in eighths of a line."""

    def __init__(self) -> None:
        self._ends: dict[tuple[Rgb, int, int], list[tuple[float, float]]] = defaultdict(list)

    def add(self, colour: Rgb, left: float, length: float, top: int = 0, bottom: int = 8) -> None:
        """Add a stroke; it continues the one before if that ends where this begins."""
        strokes = self._ends[colour, top, bottom]
        start = strokes.pop()[0] if strokes and strokes[-1][1] == left else left
        strokes.append((start, left + length))

    def paths(self) -> Iterable[tuple[tuple[Rgb, int], str]]:
        """Return a path for each colour and height in eighths; its unit is the width of a cell."""
        paths: dict[tuple[Rgb, int], str] = defaultdict(str)
        for (colour, top, bottom), strokes in self._ends.items():
            middle = f"{(top + bottom) / 8:g}".removeprefix("0")
            for left, end in strokes:
                paths[colour, bottom - top] += f"M{left:g} {middle}h{end - left:g}"
        return paths.items()


def _mixed(low: Rgb, high: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _hex(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
