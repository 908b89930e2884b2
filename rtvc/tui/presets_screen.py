"""The screen on which you preview, load and manage presets."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from rtvc.config.preset_manager import PresetEntry, PresetManager, describe_changes
from rtvc.library.voice_defaults import own_settings
from rtvc.live.actions import Actions
from rtvc.live.held_keys import HeldKeys
from rtvc.settings import Settings
from rtvc.tui.dialogs import Ask
from rtvc.tui.help import PRESETS_TOPIC, Topic
from rtvc.tui.notice import Notice, report
from rtvc.tui.panel_screen import PanelScreen
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import printable
from rtvc.tui.voice_list import VoiceList, items

_HINTS = (
    ("Enter", "load", ""),
    ("/", "search", "app.search"),
    ("s", "save", "app.save"),
    ("n", "rename", "screen.rename"),
    ("c", "copy", "screen.copy"),
    ("x", "delete", "screen.delete"),
    ("u", "undo", "screen.restore"),
    ("f", "key", "screen.favourite"),
    ("Esc", "back", "app.close_screen"),
)

_LOW = 18
"""Rows from which there is room for the preview."""


class PresetsScreen(PanelScreen):
    """A list of all presets, and what the highlighted one would change.

    Parameters
    ----------
    preset_manager
        Renames, copies, deletes and restores presets.
    actions
        Let digits and settings follow a new name.
    keys
        The keys from keys.yaml, by id.
    clock
        Returns a monotonic time in seconds.
    """

    HINTS = _HINTS
    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "app.save", show=False),
        Binding("n", "rename", show=False),
        Binding("c", "copy", show=False),
        Binding("x,delete", "delete", show=False),
        Binding("u", "restore", show=False),
        Binding("escape", "app.close_screen", show=False),
    ]

    def __init__(
        self,
        preset_manager: PresetManager,
        actions: Actions,
        keys: dict[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(keys)
        self._preset_manager = preset_manager
        self._actions = actions
        self._held_keys = HeldKeys(clock)
        """When the keys that delete and restore were pressed last."""
        self._previewed: tuple[PresetEntry | None, Settings] | None = None

    def compose_body(self) -> ComposeResult:
        """Create the widgets between the state and the messages."""
        with Container(id="lists"):
            yield VoiceList("voices")
            with VerticalScroll(can_focus=False):
                yield Static("", id="preview", markup=False)

    def on_mount(self) -> None:
        """Show the presets before the first key arrives, with the one in use highlighted."""
        origin = self._actions.origin
        self._list(origin.name if origin else "")
        if origin is not None:
            self.query_one(VoiceList).mark(origin.name)

    def hint(self, snapshot: Snapshot) -> str:
        """Return why presets are missing, what can be done, or what the highlighted one is for."""
        if problem := self._preset_manager.problem:
            return problem
        if self.size.height < _LOW and (entry := self._marked) is not None:
            return f"{entry.name}: {entry.description}"
        return "Your own presets can be renamed and deleted."

    def help_topic(self) -> Topic:
        """Return the keys of the screen."""
        return PRESETS_TOPIC

    def show_body(self, snapshot: Snapshot) -> None:
        """Show the presets, and what the highlighted one would change."""
        self._list(snapshot.preset)
        self._preview(snapshot.settings)

    def _list(self, preset: str) -> None:
        """List the presets; `preset` is the one in use, "" for none."""
        favourites = self._actions.memory.favourites
        entries = self._preset_manager.entries
        self.query_one(VoiceList).put(items({}, entries, favourites, preset))

    @property
    def _marked(self) -> PresetEntry | None:
        item = self.query_one(VoiceList).marked
        return self._preset_manager.find(item.name) if item is not None else None

    def _preview(self, settings: Settings) -> None:
        entry = self._marked
        if self._previewed is not None and (
            self._previewed[0] is entry and self._previewed[1] is settings
        ):
            return
        self._previewed = entry, settings
        self.query_one("#preview", Static).update(printable(_preview_text(entry, settings)))

    def action_rename(self) -> None:
        """Rename the highlighted preset; its digit and what began with it keep it."""
        entry = self._marked
        if entry is not None and entry.file.bundled:
            text = f"{entry.name!r} comes with rtvc and cannot be renamed. Press c to copy it."
            self.post_message(Notice(text))
            return

        def rename(entry: PresetEntry, name: str) -> str:
            new = self._preset_manager.rename(entry, name)
            if problem := self._actions.note_renamed(entry.name, new):
                self.post_message(Notice(problem, urgent=True))
            return new

        self._ask("Rename", "Renamed", rename)

    def action_copy(self) -> None:
        """Copy the highlighted preset."""
        self._ask("Copy", "Copied", self._preset_manager.duplicate)

    def action_delete(self) -> None:
        """Delete the highlighted preset."""
        entry = self._marked
        if entry is None:
            return

        def delete() -> str:
            self._preset_manager.delete(entry)
            return f"Deleted {entry.name!r}. Press u to restore it."

        again = f"Press x again to delete {entry.name!r}."
        report(self, partial(self._held_keys.press, "x", delete, again))

    def action_restore(self) -> None:
        """Undo the last deletion or update of a preset, also of an earlier run."""

        def restore() -> str:
            kept = self._preset_manager.restore()
            self.query_one(VoiceList).mark(kept.name)
            return kept.restored

        again = "Press u again to restore another one."
        report(self, partial(self._held_keys.press, "u", restore, again))

    def action_favourite(self) -> None:
        """Assign a digit to the highlighted preset, or remove it."""
        self.query_one(VoiceList).action_favourite(0)

    def _ask(self, verb: str, done: str, act: Callable[[PresetEntry, str], str]) -> None:
        """Ask for a name, and do something with it and the highlighted preset."""
        entry = self._marked
        if entry is None:
            return

        def use(name: str) -> None:
            new = act(entry, name)
            self.query_one(VoiceList).mark(new)
            self.post_message(Notice(f"{done} {entry.name!r} to {new!r}."))

        self.app.push_screen(Ask(f"{verb} {entry.name!r} to:", entry.name, use))


def _preview_text(entry: PresetEntry | None, settings: Settings) -> str:
    if entry is None:
        return "No preset matches the search."
    kind = "comes with rtvc" if entry.file.bundled else f"yours: {entry.file.path}"
    if entry.preset is None:
        return f"{entry.name} ({kind})\n\nIt cannot be loaded:\n{entry.error}"
    changes = describe_changes(settings, entry.preset.apply_to(settings, own_settings))
    what = "\n".join(changes) if changes else "Nothing: these settings are in use."
    return f"{entry.name} ({kind})\n{entry.description}\n\nIt would change:\n{what}"
