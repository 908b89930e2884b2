"""Screens that close themselves do so once."""

from __future__ import annotations

from collections.abc import Callable

from textual.await_complete import AwaitComplete
from textual.screen import Screen


def close_once(screen: Screen[None], close: Callable[[], AwaitComplete]) -> AwaitComplete:
    """Close a screen, unless it is closed already or another one is above it.

    A second click may be in a screen's queue when it closes. Textual would close the screen below
    it then, and end the panel without any screen.
    """
    if screen.app.screen is screen:
        return close()
    return AwaitComplete()
