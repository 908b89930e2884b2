"""Browse, preview, load and manage presets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from rtvc.config.preset_manager import Entry, differences
from rtvc.settings import Settings
from rtvc.tui.dialogs import Ask
from rtvc.tui.footer import KeyLine
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import TextPane
from rtvc.tui.voice_list import VoiceList, items

if TYPE_CHECKING:
    from rtvc.tui.app import Panel

_HINTS = (
    ("Enter", "load", ""),
    ("/", "find", "app.search"),
    ("s", "save", "screen.save"),
    ("n", "rename", "screen.rename"),
    ("c", "copy", "screen.copy"),
    ("x", "delete", "screen.delete"),
    ("u", "undo", "screen.undelete"),
    ("f", "key 1-9", "screen.favourite"),
    ("Esc", "back", "app.close_screen"),
)


class PresetsScreen(Screen[None]):
    """A list of all presets, and what the marked one would change."""

    app: Panel
    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "save", show=False),
        Binding("n", "rename", show=False),
        Binding("c", "copy", show=False),
        Binding("x,delete", "delete", show=False),
        Binding("u", "undelete", show=False),
        Binding("f", "favourite", show=False),
        Binding("escape", "app.close_screen", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._previewed: tuple[Entry | None, Settings] | None = None

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield TextPane("badge")
        yield TextPane("message")
        with Horizontal():
            yield VoiceList("finder")
            with VerticalScroll(can_focus=False):
                yield Static("", id="preview", markup=False)
        yield KeyLine(_HINTS)

    def show(self, view: Snapshot) -> None:
        """Show a moment."""
        badge = view.badge
        self.query_one("#badge", TextPane).put(
            (f" {badge.sign} {badge.word} ", f"bold reverse {badge.style}"), ("  PRESETS", "bold")
        )
        text = view.message or badge.text or "Your own presets can be renamed and deleted."
        self.query_one("#message", TextPane).put((text, "bold" if view.message else ""))
        lines = items(
            {}, self.app.preset_manager.entries, self.app.commands.memory.favourites, view.preset
        )
        self.query_one(VoiceList).put(lines)
        self._preview(view.settings)

    @property
    def _marked(self) -> Entry | None:
        item = self.query_one(VoiceList).marked
        return self.app.preset_manager.find(item.name) if item is not None else None

    def _preview(self, settings: Settings) -> None:
        entry = self._marked
        if self._previewed is not None and (
            self._previewed[0] is entry and self._previewed[1] is settings
        ):
            return
        self._previewed = entry, settings
        self.query_one("#preview", Static).update(_described(entry, settings))

    @on(VoiceList.Selected)
    def _taken(self, event: VoiceList.Selected) -> None:
        self.app.take(event.item)

    def action_save(self) -> None:
        """Save the settings of now under a new name."""
        self.app.action_save()

    def action_rename(self) -> None:
        """Rename the marked preset."""
        entry = self._marked
        if entry is not None:
            self._ask(
                f"Rename {entry.name!r} to:", entry, self.app.preset_manager.rename, "Renamed"
            )

    def action_copy(self) -> None:
        """Copy the marked preset."""
        entry = self._marked
        if entry is not None:
            self._ask(
                f"Copy {entry.name!r} to:", entry, self.app.preset_manager.duplicate, "Copied"
            )

    def action_delete(self) -> None:
        """Delete the marked preset."""
        entry = self._marked
        if entry is not None and self.app.attempt(lambda: self.app.preset_manager.delete(entry)):
            self.app.tell(f"Deleted {entry.name!r}; u brings it back.")

    def action_undelete(self) -> None:
        """Bring the preset back that was deleted last."""
        self.app.attempt(lambda: self.app.tell(f"{self.app.preset_manager.undelete()!r} is back."))

    def action_favourite(self) -> None:
        """Give the marked preset a digit, or take it away."""
        entry = self._marked
        if entry is not None:
            self.app.do(partial(self.app.commands.toggle_favourite, entry.name))

    def _ask(
        self, question: str, entry: Entry, act: Callable[[Entry, str], None], done: str
    ) -> None:
        def use(name: str) -> None:
            act(entry, name)
            self.app.tell(f"{done} {entry.name!r} to {name!r}.")

        self.app.push_screen(Ask(question, entry.name, use))


def _described(entry: Entry | None, settings: Settings) -> str:
    if entry is None:
        return "No preset fits the search."
    kind = "comes with rtvc" if entry.file.bundled else f"yours: {entry.file.path}"
    if entry.preset is None:
        return f"{entry.name} ({kind})\n\nIt cannot be used:\n{entry.error}"
    changes = differences(settings, entry.preset.apply_to(settings))
    what = "\n".join(changes) if changes else "Nothing: it is what you hear."
    return f"{entry.name} ({kind})\n{entry.description}\n\nIt would change:\n{what}"
