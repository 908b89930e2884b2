"""The keys of the panel: defaults, changes from keys.yaml, and how they are displayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from textual.binding import Binding
from textual.keys import KEY_ALIASES, Keys, key_to_character
from textual.screen import Screen


@dataclass(frozen=True, slots=True)
class Key:
    """One key action.

    Attributes
    ----------
    id
        Its name in keys.yaml.
    key
        The default key, in Textual's spelling.
    action
        The app's action.
    short
        A word for the footer, "" if it is not shown there.
    help
        A phrase for the help.
    everywhere
        Whether it works in dialogs too. Where the key types a character, it does that instead.
    """

    id: str
    key: str
    action: str
    short: str
    help: str
    everywhere: bool = False


DRY, MUTE, MUTE_TYPING = "dry", "mute", "mute_typing"

KEYS = (
    Key(DRY, "space", "dry", "own voice", "your own voice (asks first), and back"),
    Key(MUTE, "m", "mute", "MUTE", "mute at once; press again to unmute", everywhere=True),
    # In every terminal, also without function keys, and in no widget; tmux and screen pass it on.
    Key(MUTE_TYPING, "ctrl+g", "mute", "", "mute or unmute, also while you type", everywhere=True),
    Key("record", "r", "record", "rec", "record the output; press again to stop"),
    Key("save_minute", "w", "save_minute", "", "write the last minute to a folder, for a report"),
    Key("pitch_down", "left_square_bracket", "pitch(-1)", "", "pitch down a semitone"),
    Key("pitch_up", "right_square_bracket", "pitch(1)", "pitch", "pitch up a semitone"),
    Key("presets", "p", "presets", "presets", "browse, save and manage presets"),
    Key("devices", "d", "devices", "devices", "choose microphone, speaker and monitor"),
    Key("search", "slash", "search", "", "search voices and presets"),
    Key("save", "ctrl+s", "save", "save", "save the settings as a preset"),
    Key("remember_voice", "o", "remember_voice", "", "let this voice remember its settings"),
    Key("remedy", "e", "remedy", "", "do what is proposed next to the state"),
    Key("messages", "ctrl+l", "messages", "", "the last messages, with their times"),
    Key("undo", "ctrl+z", "undo", "undo", "undo the last change"),
    Key("redo", "ctrl+y", "redo", "", "redo the last undone change"),
    Key("spectrogram", "v", "spectrogram", "", "show or hide the spectrogram"),
    Key("measure", "l", "measure", "", "measure the latency of the devices"),
    Key("theme", "t", "theme", "", "dark, light or high-contrast colours"),
    Key("guide", "g", "guide", "", "open the first-run guide"),
    Key("help", "question_mark", "help", "help", "list all keys"),
    Key("quit", "q", "quit", "quit", "fade out and quit"),
)
"""Actions whose keys can be changed, in the order of the help."""

_NAMES = {str(key.value) for key in Keys}
_SAME = {alias: key for key, aliases in KEY_ALIASES.items() for alias in aliases}
"""Keys that terminals send as other keys."""
KEY_IDS = tuple(key.id for key in KEYS)
_KEY = {key.id: key for key in KEYS}


@runtime_checkable
class HasKeys(Protocol):
    """An app with the keys from keys.yaml, by id, and whether your own voice stays off."""

    chosen_keys: dict[str, str]
    never_dry: bool


def bindings() -> list[Binding]:
    """Return the app's key bindings."""
    named = [
        Binding(key.key, key.action, key.help, show=False, id=key.id, priority=key.everywhere)
        for key in KEYS
    ]
    digits = [Binding(str(n), f"favourite({n})", "favourites", show=False) for n in range(1, 10)]
    return [*named, *digits, Binding("ctrl+c", "quit", "quit", show=False, priority=True)]


def chosen_keys(chosen: dict[str, str], reserved: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the keys from keys.yaml, and a message; if one is not valid, no keys.

    Parameters
    ----------
    chosen
        Keys by id: one character, or names such as ``ctrl+r`` and ``f2``.
    reserved
        What uses a key, by the name of the key.
    """
    for id, key in chosen.items():
        typed = len(key) == 1 and key.isprintable()
        if not typed and (len(key) == 1 or (key not in _NAMES and key_to_character(key) is None)):
            return {}, f"keys.yaml is ignored: {id} is {key!r}, which is not a key."
    used = {key.id: key_name(chosen.get(key.id, key.key)) for key in KEYS}
    for id, text in chosen.items():
        key = used[id]
        others = [other for other, taken in used.items() if taken == key and other != id]
        if others or key in reserved:
            other = others[0] if others else f"a key of {reserved[key]}"
            return {}, f"keys.yaml is ignored: {text!r} is both {id} and {other}."
        if id == MUTE_TYPING and len(key) == 1:
            return {}, (
                f"keys.yaml is ignored: {id} is {text!r}, which types a character. Choose a key "
                "that does not, such as ctrl+g or f9."
            )
    return chosen, ""


def keymap(chosen: dict[str, str]) -> dict[str, str]:
    """Return Textual's keymap for the keys of `chosen_keys`.

    While a text field has the focus, Textual drops every binding whose default key types a
    character. A mute key that types none must work there too.
    """
    mute = chosen.get(MUTE, _KEY[MUTE].key)
    if len(key_name(mute)) == 1:
        return chosen
    typing = chosen.get(MUTE_TYPING, _KEY[MUTE_TYPING].key)
    return chosen | {MUTE_TYPING: f"{typing},{mute}"}


def offered_keys(app: object) -> tuple[Key, ...]:
    """Return the key actions that an app shows: all but those that its run refuses."""
    never_dry = isinstance(app, HasKeys) and app.never_dry
    return tuple(key for key in KEYS if not (never_dry and key.id == DRY))


def mute_key(screen: Screen[Any]) -> str:
    """Return the label of the key that mutes while the present widget has the focus."""
    app, focused = screen.app, screen.focused
    chosen = app.chosen_keys if isinstance(app, HasKeys) else {}
    key, typing = (chosen.get(id, _KEY[id].key) for id in (MUTE, MUTE_TYPING))
    typed = focused is not None and focused.check_consume_key(key, key_to_character(key))
    return key_label(typing if typed else key)


def key_label(key: str) -> str:
    """Return a key as it is displayed."""
    plain = key_name(key)
    return {" ": "space"}.get(plain, plain).replace("ctrl+", "^")


def key_labels(chosen: dict[str, str]) -> dict[str, str]:
    """Return the labels of the keys of all actions, by id.

    Parameters
    ----------
    chosen
        The keys from keys.yaml, by id.
    """
    return {key.id: key_label(chosen.get(key.id, key.key)) for key in KEYS}


def key_name(key: str) -> str:
    """Return the character of a key, or its name if it has no printable one."""
    if len(key) == 1:
        return key
    key = _SAME.get(key, key)
    character = {"slash": "/"}.get(key) or key_to_character(key) or ""
    return character if character.isprintable() and character else key
