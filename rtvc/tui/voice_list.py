"""The list of voices and presets, with search as you type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from rtvc.config.preset_manager import PresetEntry
from rtvc.tui.keys import HasKeys, key_labels
from rtvc.tui.row_list import RowList
from rtvc.tui.text_pane import printable

VOICE, PRESET = "voice", "preset"


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the list.

    Attributes
    ----------
    kind, name
        Whether it is a voice or a preset, and its name.
    about
        A description in one sentence.
    digit
        The digit that loads it, 0 for none.
    current
        Whether it is in use.
    loading
        Whether it is being loaded.
    broken
        Whether it cannot be loaded.
    """

    kind: str
    name: str
    about: str = ""
    digit: int = 0
    current: bool = False
    loading: bool = False
    broken: bool = False

    @property
    def is_voice(self) -> bool:
        """Whether it is a voice and not a preset."""
        return self.kind == VOICE


def items(
    voices: dict[str, str],
    entries: tuple[PresetEntry, ...],
    favourites: dict[int, str],
    preset: str,
    *,
    voice: str = "",
    loading: str = "",
) -> tuple[Item, ...]:
    """Return the rows for all voices and presets.

    Parameters
    ----------
    voices, entries, favourites
        The voices with descriptions, the presets, and the favourites by digit.
    preset, voice
        The ones in use.
    loading
        The voice being loaded, "" if there is none.
    """
    digits = {name: digit for digit, name in favourites.items()}
    return (
        *(
            Item(VOICE, name, about, current=name == voice, loading=name == loading)
            for name, about in voices.items()
        ),
        *(
            Item(
                PRESET,
                entry.name,
                entry.description,
                digits.get(entry.name, 0),
                entry.name == preset,
                broken=entry.preset is None,
            )
            for entry in entries
        ),
    )


class _Row(Option):
    """An option with its row: the list may show other rows before a selection is handled."""

    def __init__(self, item: Item) -> None:
        super().__init__(_line(item))
        self.item = item


class VoiceList(Vertical):
    """A search field above a list.

    Parameters
    ----------
    id
        Id of the widget.
    what
        What the list contains, for the search field.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("down", "list(1)", show=False),
        Binding("up", "list(-1)", show=False),
        Binding("f", "favourite(0)", show=False),
        *(Binding(f"ctrl+{n}", f"favourite({n})", show=False) for n in range(1, 10)),
    ]

    @dataclass
    class Selected(Message):
        """A row was selected."""

        finder: VoiceList
        item: Item

    @dataclass
    class Highlighted(Message):
        """A row was highlighted; None if the list is empty."""

        finder: VoiceList
        item: Item | None

    @dataclass
    class FavouriteAsked(Message):
        """A digit was asked for, or with 0 any digit, for a row."""

        item: Item
        digit: int

    def __init__(self, id: str, what: str = "presets") -> None:
        super().__init__(id=id)
        self._what = what
        self._items: tuple[Item, ...] = ()
        self._shown: tuple[Item, ...] = ()
        self._searched_text = ""
        """The search text of the rows shown."""
        self._select_when_filled = False
        """Whether to select a row as soon as there are any."""
        self._awaited = ""
        """The preset to highlight as soon as it is shown, "" for none."""

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        chosen = self.app.chosen_keys if isinstance(self.app, HasKeys) else {}
        key = key_labels(chosen)["search"]
        yield Input(placeholder=f"{key} search {self._what}", compact=True)
        yield RowList(compact=True, markup=False)

    @property
    def marked(self) -> Item | None:
        """The highlighted row."""
        at = self.query_one(OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    @property
    def hint(self) -> str:
        """What the highlighted row is, which may not fit into the row; "" if there is none."""
        return f"{item.name}: {item.about}" if (item := self.marked) is not None else ""

    def put(self, items: tuple[Item, ...]) -> None:
        """Set the rows, of which those that match the search are shown."""
        if items != self._items:
            self._items = items
            self._fill()
            if self._select_when_filled:
                self._select_when_filled = False
                self._take()

    def mark(self, preset: str) -> None:
        """Highlight a preset, as soon as it is shown."""
        self._awaited = preset
        self._highlight_awaited()

    def search(self) -> None:
        """Focus the search field."""
        self.query_one(Input).focus()

    def choose_voice(self, name: str) -> None:
        """Focus the list, with a voice highlighted."""
        self.query_one(Input).value = ""
        self._fill()
        places = [(item.kind, item.name) for item in self._shown]
        options = self.query_one(OptionList)
        if (VOICE, name) in places:
            options.highlighted = places.index((VOICE, name))
        options.focus()

    def action_leave(self) -> None:
        """End the search; outside of one, leave the key to the screen."""
        field = self.query_one(Input)
        if not field.has_focus:
            raise SkipAction
        self._select_when_filled = False
        self._end_search()

    def action_list(self, rows: int) -> None:
        """Highlight another row during the search."""
        options = self.query_one(OptionList)
        if rows > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_favourite(self, digit: int) -> None:
        """Ask for a digit, or with 0 for any, for the highlighted row."""
        if self.marked is not None:
            self.post_message(self.FavouriteAsked(self.marked, digit))

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value != self._searched_text:
            self._fill()  # the last Changed event has not arrived yet
        self._select_when_filled = not self._items
        self._take()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if isinstance(event.option, _Row):
            self.post_message(self.Selected(self, event.option.item))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted(self, self.marked))

    def _take(self) -> None:
        if self.marked is not None:
            self.post_message(self.Selected(self, self.marked))
            if self.query_one(Input).has_focus:
                self._end_search()

    def _end_search(self) -> None:
        self.query_one(Input).value = ""
        self.query_one(OptionList).focus()

    @property
    def _nothing(self) -> str:
        if self._searched_text:
            return f" Nothing matches.\n Esc shows all {self._what}."
        return " There are no presets yet.\n ctrl+s saves one."

    def _fill(self) -> None:
        options = self.query_one(OptionList)
        before, row = self.marked, options.highlighted or 0
        searched, self._searched_text = self._searched_text, self.query_one(Input).value
        wanted = self._searched_text.strip().lower()
        by_name = [item for item in self._items if wanted in item.name.lower()]
        others = [i for i in self._items if i not in by_name and wanted in i.about.lower()]
        self._shown = (*by_name, *others)
        rows: list[Option] = [_Row(item) for item in self._shown]
        if not rows:
            rows = [Option(self._nothing, disabled=True)]
        options.set_options(rows)
        places = [(item.kind, item.name) for item in self._shown]
        if not self._shown:
            options.highlighted = None
            self.post_message(self.Highlighted(self, None))
        elif wanted and searched != self._searched_text:
            options.highlighted = 0  # the best match
        elif before is not None and (before.kind, before.name) in places:
            options.highlighted = places.index((before.kind, before.name))
        else:  # the row that has moved into its place
            options.highlighted = min(row, len(self._shown) - 1)
        self._highlight_awaited()

    def _highlight_awaited(self) -> None:
        for row, item in enumerate(self._shown):
            if self._awaited and (item.kind, item.name) == (PRESET, self._awaited):
                self.query_one(OptionList).highlighted = row
                self._awaited = ""


def _line(item: Item) -> Content:
    mark = "*" if item.current else " "
    digit = str(item.digit) if item.digit else " "
    about = item.about.upper() if item.broken else "LOADING" if item.loading else item.about
    name = f"{item.name} (voice)" if item.is_voice else item.name
    return Content.assemble(
        (f"{mark}{digit} ", "bold"), (printable(name), "bold"), printable(f"  {about}")
    )
