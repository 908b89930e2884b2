"""What is written of a frame, by reading it back as a terminal does."""

import random
import re

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from rtvc.tui.cell_diff import CellDiff

COLUMNS, ROWS = 40, 6
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=COLUMNS)
STYLES = [
    Style.parse(words)
    for words in (
        "white on black",
        "bold white on black",
        "bold dim white on black",
        "dim underline red on black",
        "red on black",
        "red on #102030",
        "reverse color(200) on black",
        "underline",
        "on blue",
    )
] + [None]
Cell = tuple[str, str]


class Screen:
    """A terminal that knows the sequences of a frame."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], Cell] = {}
        self.style: dict[str, str] = {}

    def write(self, text: str) -> None:
        row = column = 0
        for keys, kind, character in re.findall(r"\x1b\[([\d;]*)([HCm])|([^\x1b])", text):
            if kind == "H":
                row, column = (int(number) - 1 for number in keys.split(";"))
            elif kind == "C":
                column += int(keys)
            elif kind == "m":
                self.switch(keys)
            else:
                self.cells[row, column] = character, self.look(blank=character == " ")
                column += 1

    def look(self, *, blank: bool) -> str:
        """What is seen of the style; of a space neither the colour of text nor bold."""
        unseen = ("3", "attribute 1", "attribute 2", "attribute 3") if blank else ()
        if "attribute 7" in self.style or "attribute 4" in self.style:
            unseen = ()
        return str(sorted((key, on) for key, on in self.style.items() if key not in unseen))

    def switch(self, keys: str) -> None:
        codes = iter((keys or "0").split(";"))
        for code in codes:
            if code == "0":
                self.style = {}
            elif code in ("38", "48"):
                kind = next(codes)
                rest = [next(codes) for _ in range(1 if kind == "5" else 3)]
                self.style[code[0]] = ";".join([kind, *rest])
            elif code in ("22", "23", "24", "25", "27", "29"):
                for ended in ("1", "2") if code == "22" else (code[1],):
                    self.style.pop(f"attribute {ended}", None)
            elif code[:-1] in ("3", "4"):
                self.style[code[:-1]] = code[-1]
            else:
                self.style[f"attribute {code}"] = "on"


def line(texts: random.Random) -> Strip:
    """A row of text in styles, of cells that are often those of the row before."""
    segments, rest = [], COLUMNS
    while rest:
        length = min(rest, texts.choice([1, 3, 5, 12]))
        text = "".join(texts.choice("  ─⠿█a") for _ in range(length))
        segments.append(Segment(text, texts.choice(STYLES)))
        rest -= length
    return Strip(segments, COLUMNS)


def whole(rows: list[Strip]) -> LayoutUpdate:
    return LayoutUpdate([[row] for row in rows], Region(0, 0, COLUMNS, len(rows)))


def part(rows: list[Strip], y: int, start: int, end: int) -> ChopsUpdate:
    """The update of the columns from `start` to `end` of a row, in three pieces of that row."""
    cuts = [0, 10, 25, COLUMNS]
    chops = [dict(zip(cuts, row.divide(cuts[1:]), strict=False)) for row in rows]
    return ChopsUpdate(chops, [(y, start, end)], [cuts[1:]] * len(rows))


def test_after_each_update_the_terminal_shows_what_it_does_without_the_difference():
    texts = random.Random(3)
    diff, screen, expected = CellDiff(), Screen(), Screen()
    rows = [line(texts) for _ in range(ROWS)]
    for number in range(300):
        rows[texts.randrange(ROWS)] = line(texts)
        update: LayoutUpdate | ChopsUpdate = whole(rows)
        if number % 3:
            start = texts.choice([0, 10])
            update = part(rows, texts.randrange(ROWS), start, texts.choice([start + 7, COLUMNS]))
        screen.write(diff.changes(update, CONSOLE))
        assert not screen.style, "the next writer has no style of its own"
        expected.write(update.render_segments(CONSOLE).replace("\n", ""))
        assert screen.cells == expected.cells


def test_what_the_terminal_shows_is_not_written_again():
    diff, rows = CellDiff(), [Strip([Segment("level -12 dB", STYLES[0])], 12)]
    assert "level -12 dB" in diff.changes(whole(rows), CONSOLE)
    assert diff.changes(whole(rows), CONSOLE) == ""
    rows[0] = Strip([Segment("level -13 dB", STYLES[0])], 12)
    assert diff.changes(whole(rows), CONSOLE) == "\x1b[1;9H\x1b[37;40m3\x1b[m"
    diff.reset()
    assert "level -13 dB" in diff.changes(whole(rows), CONSOLE)


def test_only_the_colour_that_differs_is_written():
    styles = [Style.parse(words) for words in ("red on black", "red on #102030", "underline")]
    row = Strip([Segment(text, style) for text, style in zip("abc", styles, strict=True)], 3)
    expected = "\x1b[1;1H\x1b[31;40ma\x1b[48;2;16;32;48mb\x1b[0;4mc\x1b[m"
    assert CellDiff().changes(whole([row]), CONSOLE) == expected


def test_only_the_attribute_that_differs_is_written():
    styles = [Style.parse(f"{words} red on black") for words in ("", "bold", "bold dim", "dim", "")]
    row = Strip([Segment(text, style) for text, style in zip("abcde", styles, strict=True)], 5)
    expected = "\x1b[1;1H\x1b[31;40ma\x1b[1mb\x1b[2mc\x1b[22;2md\x1b[22me\x1b[m"
    assert CellDiff().changes(whole([row]), CONSOLE) == expected


def test_spaces_need_no_colour_of_text():
    styles = [Style.parse(words) for words in ("red on black", "white on black", "white on blue")]
    texts = zip(("a", "  ", "  "), styles, strict=True)
    row = Strip([Segment(text, style) for text, style in texts], 5)
    expected = "\x1b[1;1H\x1b[31;40ma  \x1b[37;44m  \x1b[m"
    assert CellDiff().changes(whole([row]), CONSOLE) == expected


def test_text_whose_width_terminals_disagree_on_is_written_whole():
    diff = CellDiff()
    for name, clock in (("ゆき 😀 קול", "00:01"), ("ゆき 😀 קול", "00:02")):
        text = f"{name} {clock}"
        strip = Strip([Segment(text, STYLES[0])])
        assert text in diff.changes(whole([strip]), CONSOLE)
        assert diff.changes(whole([strip]), CONSOLE) == ""
    plain = Strip([Segment("a" * strip.cell_length, STYLES[0])])
    assert "a" * strip.cell_length in diff.changes(whole([plain]), CONSOLE)


def test_colours_are_those_that_the_terminal_has():
    few = Console(color_system="standard", force_terminal=True, width=COLUMNS)
    strip = Strip([Segment("pitch", Style.parse("bold #ff0000"))])
    assert CellDiff().changes(whole([strip]), few) == "\x1b[1;1H\x1b[1;31mpitch\x1b[m"
