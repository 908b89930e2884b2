"""The command palette: every action by its name, with its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider, SearchIcon
from textual.content import Content
from textual.fuzzy import Matcher

from rtvc.config.preset_manager import PresetManager
from rtvc.tui.closing import close_once
from rtvc.tui.keys import key_labels, mute_key, offered_keys
from rtvc.tui.text_pane import printable


class _Panel(Protocol):
    """What the palette needs of the panel."""

    chosen_keys: dict[str, str]
    preset_manager: PresetManager


class Palette(CommandPalette):
    """Textual's command palette, for a terminal of any height, with the key that mutes.

    Parameters
    ----------
    id
        The id by which Textual finds it.
    """

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (18, "-low")]

    def on_mount(self) -> None:
        """Show the key that mutes now next to the field, also while it has a text."""
        self.watch(self, "focused", self._show_mute_key)

    def _show_mute_key(self) -> None:
        icon = self.query_one(SearchIcon)
        icon.icon = f"{mute_key(self)} mutes"
        icon.refresh(layout=True)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the screen, once."""
        return close_once(self, super().dismiss)

    def _action_command_list(self, action: str) -> None:
        # A key for a page before the first rows are there raises it, which would end the panel.
        with suppress(KeyError):
            super()._action_command_list(action)


class ActionProvider(Provider):
    """The actions of all keys, and the presets."""

    async def discover(self) -> Hits:
        """Yield all actions."""
        for text, action in self._commands():
            yield DiscoveryHit(Content(text), partial(self.app.run_action, action), text)

    async def search(self, query: str) -> Hits:
        """Yield the actions that match a query."""
        matcher = self.matcher(query)
        for text, action in self._commands():
            if (score := matcher.match(text)) > 0:
                run = partial(self.app.run_action, action)
                yield Hit(score, _highlighted(matcher, text), run, text=text)

    def _commands(self) -> Iterator[tuple[str, str]]:
        """Yield name and action of each command."""
        panel = cast("_Panel", self.app)
        labels = key_labels(panel.chosen_keys)
        for key in offered_keys(self.app):
            yield f"{key.help[0].upper()}{key.help[1:]} ({labels[key.id]})", f"app.{key.action}"
        for entry in panel.preset_manager.entries:
            yield f"Load the preset {printable(entry.name)}", f"app.load_preset({entry.name!r})"


def _highlighted(matcher: Matcher, text: str) -> Content:
    """Return a text with what matches; `Matcher.highlight` takes brackets in it for styles."""
    content = Content(text)
    for at in matcher.fuzzy_search.match(matcher.query, text)[1]:
        if not text[at].isspace():
            content = content.stylize(matcher.match_style, at, at + 1)
    return content
