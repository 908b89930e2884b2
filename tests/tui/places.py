"""Everything in the panel that can have the focus, and the keys that lead to it."""

from __future__ import annotations

from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from rtvc.tui.reserved_keys import widget_classes
from tests.tui.conftest import Driver

PLACES: dict[str, tuple[str, ...]] = {
    "settings": (),
    "search": ("slash",),
    "searching": ("slash", "r", "o"),
    "list": ("slash", "escape"),
    "value": ("home", "down", "enter"),
    "value, refused": ("home", "down", "enter", "9", "9", "9", "enter"),
    "voice": ("home", "enter"),
    "save": ("ctrl+s", "a"),
    "save, description": ("ctrl+s", "tab", "a"),
    "help": ("question_mark",),
    "measure": ("l",),
    "messages": ("ctrl+l",),
    "palette": ("ctrl+p",),
    "palette, typed": ("ctrl+p", "s", "p"),
    "presets": ("p",),
    "presets, searching": ("p", "slash", "r"),
    "presets, copy": ("p", "c"),
    "devices": ("d",),
    "devices, speaker": ("d", "tab"),
    "devices, monitor": ("d", "tab", "tab"),
    "guide": ("g",),
    "guide, level": ("g", "n"),
    "guide, speaker": ("g", "n", "n"),
    "guide, headphones": ("g", "n", "n", "n"),
    "guide, presets": ("g", "n", "n", "n", "n"),
    "guide, searching": ("g", "n", "n", "n", "n", "slash", "r"),
}
"""By a name, the keys from the main screen with its settings in focus."""

QUESTION = "own voice asked for"
"""The open question about your own voice, in which another press lets it out."""


async def go(it: Driver, name: str) -> None:
    """Go to a place from anywhere."""
    await it.press("escape")
    while len(it.panel.screen_stack) > 2:
        await it.press("escape")
    await it.press("escape")
    for key in (PLACES | {QUESTION: ("space",)})[name]:
        await it.press(key)
        await it.passes(0.04)  # a screen that has opened shows its lists
        if key == "slash":
            await it.until(lambda: isinstance(it.panel.focused, Input))
    await it.passes(0.04)


def where(it: Driver) -> tuple[type[Screen[object]], type[Widget] | None]:
    """Return the classes of the screen and of the widget in focus."""
    focused = it.panel.focused
    return type(it.panel.screen), None if focused is None else type(focused)


def screens() -> set[type[Screen[object]]]:
    """Return the classes of all screens of the panel that can be opened."""
    found = [
        kind
        for kind in widget_classes()
        if issubclass(kind, Screen) and kind.__module__.startswith("rtvc.tui.")
    ]
    return {kind for kind in found if not any(kind in other.__mro__[1:] for other in found)}


def focusable() -> set[type[Widget]]:
    """Return the classes of all widgets of the panel that can have the focus."""
    found = [kind for kind in widget_classes() if kind.can_focus and not issubclass(kind, Screen)]
    return {kind for kind in found if not any(kind in other.__mro__[1:] for other in found)}
