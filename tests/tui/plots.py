"""Reads what the plots show: dots of lines, and levels of a spectrogram."""

from __future__ import annotations

from textual.app import App, ComposeResult

from rtvc.tui.colour_map import Rgb, viridis
from rtvc.tui.picture import AXIS, Picture
from rtvc.tui.spectrogram import Spectrogram
from rtvc.tui.themes import THEMES

_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a Braille character, by row and column."""

Dots = dict[int, list[int]]
"""Rows of dots by column of dots, 0 for the highest; columns without dots are left out."""


class PlotApp(App[None]):
    """One plot on the whole screen, in one of the panel's themes."""

    CSS = "Screen { background: $background; }"

    def __init__(self, plot: Picture, theme: str = "dark") -> None:
        super().__init__()
        self.plot = plot
        self.use(theme)

    def use(self, theme: str) -> None:
        """Use a theme of the panel, by its name in panel.yaml."""
        self.register_theme(THEMES[theme])
        self.theme = THEMES[theme].name

    def compose(self) -> ComposeResult:
        yield self.plot


def rows_of(plot: Picture) -> list[str]:
    """The rows of a plot without axis and legend."""
    return [row[AXIS:] for row in plot.text.splitlines()[:-1]]


def axis_of(plot: Picture) -> list[str]:
    """The labels on the axis, from top to bottom, "" for none."""
    return [row[: AXIS - 2].strip() for row in plot.text.splitlines()[:-1]]


def dots_of(rows: list[str]) -> Dots:
    """The dots of Braille characters, by column."""
    dots: Dots = {}
    for y, row in enumerate(rows):
        for x, character in enumerate(row):
            bits = ord(character) - 0x2800 if character != " " else 0
            for down, pair in enumerate(_BRAILLE):
                for across, bit in enumerate(pair):
                    if bits & bit:
                        dots.setdefault(2 * x + across, []).append(4 * y + down)
    return {x: sorted(dots[x]) for x in sorted(dots)}


def halves_of(plot: Spectrogram) -> list[list[Rgb]]:
    """The colours of a spectrogram by half row and column, from top to bottom."""
    halves: list[list[Rgb]] = []
    for y in range(plot.size.height - 1):
        upper: list[Rgb] = []
        lower: list[Rgb] = []
        # The first segment is the axis.
        for text, style, _ in list(plot.render_line(y))[1:]:
            assert style is not None
            assert style.bgcolor is not None
            background = style.bgcolor.get_truecolor()
            half = style.color.get_truecolor() if style.color else background
            for character in text:
                upper.append(half if character == "▀" else background)
                lower.append(background)
        halves += [upper, lower]
    return halves


def spectrogram_levels(plot: Spectrogram) -> list[list[int]]:
    """The levels of a spectrogram in viridis by half row and column, 0 for silence."""
    colours = list(viridis())
    return [
        [colours.index(colour) + 1 if colour in colours else 0 for colour in half]
        for half in halves_of(plot)
    ]
