"""The keys: what each does, which can be changed, and how they are written for a person."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import Keys, key_to_character


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that a key does, everywhere outside of dialogs.

    Attributes
    ----------
    id
        Its name in keys.yaml.
    key
        In Textual's spelling, unless a person chooses another.
    action
        The app's action.
    short
        A word for the footer, "" where it has no room for it.
    help
        A sentence.
    """

    id: str
    key: str
    action: str
    short: str
    help: str


KEYS = (
    Key("dry", "space", "dry", "dry", "your own voice, or the converted one again"),
    Key("mute", "m", "mute", "MUTE", "silence at once (panic); again to go on"),
    Key("record", "r", "record", "rec", "record what is played; again to stop"),
    Key("pitch_down", "left_square_bracket", "pitch(-1)", "", "pitch down a semitone"),
    Key("pitch_up", "right_square_bracket", "pitch(1)", "pitch", "pitch up a semitone"),
    Key("presets", "p", "presets", "preset", "browse, save and manage presets"),
    Key("devices", "d", "devices", "device", "choose microphone, speaker and monitor"),
    Key("search", "slash", "search", "", "search voices and presets"),
    Key("save", "ctrl+s", "save", "save", "save the settings as a preset"),
    Key("undo", "ctrl+z", "undo", "undo", "take the last change back"),
    Key("redo", "ctrl+y", "redo", "", "take the last undo back"),
    Key("spectrogram", "v", "spectrogram", "", "show or hide the spectrogram"),
    Key("measure", "l", "measure", "", "measure the real delay of the devices"),
    Key("theme", "t", "theme", "", "dark, light or high-contrast colours"),
    Key("guide", "g", "guide", "", "the first steps again"),
    Key("help", "question_mark", "help", "help", "all keys"),
    Key("quit", "q", "quit", "quit", "fade out and quit"),
)
"""What has a key that can be changed, in the order of help."""

_NAMES = {str(key.value) for key in Keys}
KEY_IDS = tuple(key.id for key in KEYS)

FIXED_HELP = (
    ("1 to 9", "load a favourite preset"),
    ("up, down", "choose a control; Tab goes on to the list"),
    ("left, right", "change it by a step"),
    (", and .", "change it finely (also Shift+left, Shift+right)"),
    ("< and >", "change it coarsely (also Ctrl+left, Ctrl+right)"),
    ("Enter", "type a value; in lists, take the marked line"),
    ("Backspace", "back to the default"),
    ("Escape", "close what is open"),
)


def bindings() -> list[Binding]:
    """Return the app's key bindings."""
    named = [Binding(key.key, key.action, key.help, show=False, id=key.id) for key in KEYS]
    digits = [Binding(str(n), f"favourite({n})", show=False) for n in range(1, 10)]
    return [*named, *digits, Binding("ctrl+c", "quit", show=False, priority=True)]


def keymap(chosen: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return Textual's keymap for keys that a person wrote, and a sentence ("" if all is well).

    Parameters
    ----------
    chosen
        Keys by id: one character, or names such as ``ctrl+r`` and ``f2``.
    """
    for id, key in chosen.items():
        if len(key) != 1 and key not in _NAMES and key_to_character(key) is None:
            return {}, f"keys.yaml is ignored: {id} is {key!r}, which is no key."
    used = {key.id: _plain(key.key) for key in KEYS} | {id: _plain(k) for id, k in chosen.items()}
    for id, text in chosen.items():
        key = used[id]
        others = [other for other, taken in used.items() if taken == key and other != id]
        if others or key in "123456789":
            what = others[0] if others else "a favourite"
            return {}, f"keys.yaml is ignored: {text!r} is both {id} and {what}."
    return chosen, ""


def written(key: str) -> str:
    """Return a key as a person reads it."""
    plain = _plain(key)
    return {" ": "space"}.get(plain, plain).replace("ctrl+", "^")


def _plain(key: str) -> str:
    """Return the character of a key that has one, else its name."""
    if len(key) == 1:
        return key
    return {"slash": "/"}.get(key) or key_to_character(key) or key
