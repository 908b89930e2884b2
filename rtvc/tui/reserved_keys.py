"""The keys that screens and widgets use themselves, which keys.yaml cannot give to an action."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input

from rtvc.tui.keys import key_name

_PACKAGE = "rtvc.tui"


def reserved_keys(app: type[App[None]]) -> dict[str, str]:
    """Return the bindings of an app that have no id, and those of all screens and widgets.

    Parameters
    ----------
    app
        The app. Its bindings with an id are those that keys.yaml changes.

    Returns
    -------
    dict
        What uses a key, by the name of the key (see `key_name`).
    """
    users: dict[str, str] = {}
    apps = [kind for kind in app.__mro__ if issubclass(kind, App)]
    for kind in (*widget_classes(), *apps):
        for binding in own_bindings(kind):
            if binding.id is None:
                user = binding.description if issubclass(kind, App) else _label(kind)
                users.setdefault(key_name(binding.key), user.lower())
    # Textual binds this key in the instance.
    return users | {key_name(app.COMMAND_PALETTE_BINDING): "the command palette"}


def widget_classes() -> tuple[type[Widget], ...]:
    """Return the widget and screen classes that modules of the panel define or import.

    Classes of the panel come first. Base classes are included.
    """
    found: dict[type[Widget], None] = {}
    for name in sorted(sys.modules):
        if name == _PACKAGE or name.startswith(f"{_PACKAGE}."):
            for value in vars(sys.modules[name]).values():
                if isinstance(value, type) and issubclass(value, Widget):
                    found |= dict.fromkeys(
                        base for base in value.__mro__ if issubclass(base, Widget)
                    )
    return tuple(sorted(found, key=lambda kind: (not _is_ours(kind), kind.__name__)))


def own_bindings(kind: type[DOMNode]) -> Iterator[Binding]:
    """Yield the bindings that a class adds to those of its base classes, one key each."""
    return iter(Binding.make_bindings(vars(kind).get("BINDINGS", ())))


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith(f"{_PACKAGE}.")


def _label(kind: type) -> str:
    """Return what the user calls a class, such as "the presets screen"."""
    if issubclass(kind, Input):
        return "text fields"
    if issubclass(kind, ModalScreen):
        return "dialogs"
    if kind is Screen:
        return "every screen"
    return "the " + re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__)
