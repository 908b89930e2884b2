"""What to write so that the terminal shows the next frame: the cells that differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

_SINGLE = re.compile(
    "[ -~\u00a0-\u02ff\u0370-\u052f\u2010-\u2027\u2030-\u205e\u2190-\u22ff"
    "\u2500-\u25ff\u2800-\u28ff]*"
)
"""Characters that every terminal draws in one cell each, from left to right."""
_GAP = 3
"""Number of equal cells that cost fewer bytes than moving the cursor over them."""
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "9": "29"}
"""What ends an attribute, by its code."""
_UNKNOWN = "?"
"""Style of a cell of which nothing is known."""


class CellDiff:
    """What the terminal shows, as far as it is known.

    Textual writes all of a widget when a part of it changes, and the colours of each piece of
    text. That is about ten times the bytes of the cells that differ.
    """

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}

    def reset(self) -> None:
        """Forget what the terminal shows: the next update is written whole."""
        self._rows.clear()

    def changes(self, update: LayoutUpdate | ChopsUpdate, console: Console) -> str:
        """Return what to write for an update, "" if the terminal shows it already."""
        colours = console._color_system or ColorSystem.TRUECOLOR
        written: list[str] = []
        style = ""
        cursor = 0, -1
        for x, y, strip in _strips(update):
            row = self._rows.setdefault(y, _Row())
            characters, styles, whole = _cells(strip, console, colours)
            for start, end in row.put(x, characters, styles, whole=whole):
                written.append(_move(cursor, (start, y)))
                for column in range(start - x, end - x):
                    character, wanted = characters[column], styles[column]
                    if wanted != style and not (character == " " and _same_blank(style, wanted)):
                        written.append(_switch(style, wanted))
                        style = wanted
                    written.append(character)
                cursor = (0, -1) if whole else (end, y)
        written.append(_switch(style, ""))
        return "".join(written)


class _Row:
    """A character and a style for each cell of a row."""

    def __init__(self) -> None:
        self._characters: list[str] = []
        self._styles: list[str] = []

    def put(
        self, x: int, characters: list[str], styles: list[str], *, whole: bool
    ) -> list[tuple[int, int]]:
        """Replace cells from a column; return the first and the end column of what differs.

        Parameters
        ----------
        x
            The first column.
        characters, styles
            The new cells.
        whole
            Whether all cells differ if one does.
        """
        end = x + len(characters)
        missing = end - len(self._styles)
        if missing > 0:
            self._characters += [""] * missing
            self._styles += [_UNKNOWN] * missing
        old_characters, old_styles = self._characters[x:end], self._styles[x:end]
        if old_characters == characters and old_styles == styles:
            return []
        self._characters[x:end], self._styles[x:end] = characters, styles
        if whole or "" in old_characters:
            return [(x, end)]
        differing = [
            column
            for column, (old, new, old_style, new_style) in enumerate(
                zip(old_characters, characters, old_styles, styles, strict=True), x
            )
            if old != new or old_style != new_style
        ]
        runs = [(differing[0], differing[0] + 1)]
        for column in differing[1:]:
            start, last = runs[-1]
            if column - last <= _GAP:
                runs[-1] = (start, column + 1)
            else:
                runs.append((column, column + 1))
        return runs


def _strips(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield column, row and content of each part of an update."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for piece in line:
                yield x, y, piece
                x += piece.cell_length
        return
    for y, first, end in update.spans:
        for strip_end, (x, strip) in zip(
            update.chop_ends[y], update.chops[y].items(), strict=False
        ):
            if strip is not None and x < end and strip_end > first:
                yield x, y, strip if strip_end <= end else strip.crop(0, end - x)


def _cells(
    strip: Strip, console: Console, colours: ColorSystem
) -> tuple[list[str], list[str], bool]:
    """Return characters and styles of the cells, and whether they can only be written together.

    Terminals differ in the width of emoji and in the order of right-to-left text.
    """
    characters: list[str] = []
    styles: list[str] = []
    for text, style, _ in strip:
        if not _SINGLE.fullmatch(text) or (style is not None and style._link):
            width = strip.cell_length
            return [strip.render(console), *[""] * (width - 1)], [""] * width, True
        codes = ""
        if style is not None:
            codes = style._ansi if style._ansi is not None else strip.render_ansi(style, colours)
        characters += text
        styles += [codes] * len(text)
    return characters, styles, False


def _move(cursor: tuple[int, int], to: tuple[int, int]) -> str:
    """Return the sequence that moves the cursor to a column and a row, never to the left."""
    (x, y), (column, row) = cursor, to
    if y != row or x > column:
        return f"\x1b[{row + 1};{column + 1}H"
    return f"\x1b[{column - x}C" if column > x else ""


@lru_cache(1 << 12)
def _same_blank(one: str, other: str) -> bool:
    """Return whether a space looks the same in two styles."""
    (flags, _, background), (other_flags, _, other_background) = _parts(one), _parts(other)
    seen = (flags | other_flags) - {"1", "2", "3"}
    return not seen and background == other_background


@lru_cache(1 << 12)
def _switch(old: str, new: str) -> str:
    """Return the sequence that switches from one style to another."""
    if old == new:
        return ""
    if not new:
        return "\x1b[m"
    if not old:
        return f"\x1b[{new}m"
    (old_flags, *old_colours), (flags, *colours) = _parts(old), _parts(new)
    ended, begun = old_flags - flags, flags - old_flags
    colours_end = any(had and not has for had, has in zip(old_colours, colours, strict=True))
    if colours_end or not ended <= _OFF.keys():
        return f"\x1b[0;{new}m"
    if ended & {"1", "2"}:
        begun |= flags & {"1", "2"}  # both end with the same code
    pieces = [_OFF[flag] for flag in sorted(ended)] + sorted(begun)
    pieces += [has for had, has in zip(old_colours, colours, strict=True) if had != has]
    return f"\x1b[{';'.join(pieces)}m"


@lru_cache(1 << 12)
def _parts(style: str) -> tuple[frozenset[str], str, str]:
    """Return the attributes, the colour of the text and that of the background of a style."""
    flags: set[str] = set()
    colours = {"3": "", "4": ""}
    codes = iter(style.split(";") if style else [])
    for code in codes:
        layer = {"9": "3", "10": "4"}.get(code[:-1], code[:-1])
        if layer not in colours:
            flags.add(code)
        elif code[-1] == "8":
            kind = next(codes)
            rest = [next(codes) for _ in range(1 if kind == "5" else 3)]
            colours[layer] = ";".join([code, kind, *rest])
        else:
            colours[layer] = code
    return frozenset(flags), colours["3"], colours["4"]
