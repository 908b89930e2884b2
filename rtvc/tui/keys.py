"""The keys of the panel: defaults, changes from keys.yaml, and how they are displayed."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import Keys, key_to_character


@dataclass(frozen=True, slots=True)
class Key:
    """One key action, available everywhere except in dialogs.

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
    """

    id: str
    key: str
    action: str
    short: str
    help: str


KEYS = (
    Key("dry", "space", "dry", "dry", "switch between the new voice and your own"),
    Key("mute", "m", "mute", "MUTE", "mute at once; press again to unmute"),
    Key("record", "r", "record", "rec", "record the output; press again to stop"),
    Key("save_minute", "w", "save_minute", "", "write the last minute to a folder, for a report"),
    Key("pitch_down", "left_square_bracket", "pitch(-1)", "", "pitch down a semitone"),
    Key("pitch_up", "right_square_bracket", "pitch(1)", "pitch", "pitch up a semitone"),
    Key("presets", "p", "presets", "preset", "browse, save and manage presets"),
    Key("devices", "d", "devices", "device", "choose microphone, speaker and monitor"),
    Key("search", "slash", "search", "", "search voices and presets"),
    Key("save", "ctrl+s", "save", "save", "save the settings as a preset"),
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
KEY_IDS = tuple(key.id for key in KEYS)


def bindings() -> list[Binding]:
    """Return the app's key bindings."""
    named = [Binding(key.key, key.action, key.help, show=False, id=key.id) for key in KEYS]
    digits = [Binding(str(n), f"favourite({n})", show=False) for n in range(1, 10)]
    return [*named, *digits, Binding("ctrl+c", "quit", show=False, priority=True)]


def keymap(chosen: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return Textual's keymap for the keys from keys.yaml, and a message, "" if all are valid.

    Parameters
    ----------
    chosen
        Keys by id: one character, or names such as ``ctrl+r`` and ``f2``.
    """
    for id, key in chosen.items():
        if len(key) != 1 and key not in _NAMES and key_to_character(key) is None:
            return {}, f"keys.yaml is ignored: {id} is {key!r}, which is not a key."
    used = {key.id: _character(key.key) for key in KEYS} | {
        id: _character(k) for id, k in chosen.items()
    }
    for id, text in chosen.items():
        key = used[id]
        others = [other for other, taken in used.items() if taken == key and other != id]
        if others or key in "123456789":
            what = others[0] if others else "a favourite"
            return {}, f"keys.yaml is ignored: {text!r} is both {id} and {what}."
    return chosen, ""


def key_label(key: str) -> str:
    """Return a key as it is displayed."""
    plain = _character(key)
    return {" ": "space"}.get(plain, plain).replace("ctrl+", "^")


def key_labels(chosen: dict[str, str]) -> dict[str, str]:
    """Return the labels of the keys of all actions, by id.

    Parameters
    ----------
    chosen
        The keys from keys.yaml, by id.
    """
    return {key.id: key_label(chosen.get(key.id, key.key)) for key in KEYS}


def _character(key: str) -> str:
    """Return the character of a key, or its name if it has none."""
    if len(key) == 1:
        return key
    return {"slash": "/"}.get(key) or key_to_character(key) or key
