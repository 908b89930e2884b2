"""The help: first the keys of what has the focus, then all others in groups."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from rtvc.tui.dialogs import Dialog
from rtvc.tui.keys import KEYS, Key, key_labels, mute_key

Row = tuple[str, str]
"""Keys, and what they do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The keys of one part of a screen."""

    title: str
    rows: tuple[Row, ...]


SETTINGS_TOPIC = Topic(
    "The settings",
    (
        ("up, down", "select a setting"),
        ("PgUp, PgDn", "previous, next tab"),
        ("left, right", "change it by one step"),
        (", and .", "change it in fine steps (also Shift+left, Shift+right)"),
        ("< and >", "change it in coarse steps (also Ctrl+left, Ctrl+right)"),
        ("Enter", "type a value, or choose a voice"),
        ("Backspace", "reset it to the preset's value; again: to the default"),
        ("a", "show all settings, or only those that change something"),
        ("h", "show the engine's figures, or the health in words"),
        ("mouse", "drag the handle of a track, or of the gate on the meter"),
    ),
)
LIST_TOPIC = Topic(
    "Voices and presets",
    (
        ("up, down", "mark a row"),
        ("Enter", "load the marked voice or preset"),
        ("{search}", "search; Enter loads the first hit"),
        ("f", "give the marked preset a key, or remove it (Ctrl+1 to 9: this one)"),
        ("Escape", "go back to the settings"),
    ),
)
PRESETS_TOPIC = Topic(
    "The presets",
    (
        ("Enter", "load the marked preset"),
        ("s", "save the settings as a preset"),
        ("n, c, x", "rename, copy, delete the marked preset; n and x only yours"),
        ("u", "undo the last deletion or update of a preset"),
        ("f", "give the marked preset a key, or remove it (Ctrl+1 to 9: this one)"),
    ),
)
DEVICES_TOPIC = Topic(
    "The devices",
    (
        ("up, down", "mark a device"),
        ("Enter", "use the marked device"),
        ("Tab", "next list"),
        ("c", "next input channel of the microphone"),
    ),
)
GUIDE_TOPIC = Topic(
    "The guide",
    (
        ("Enter", "do what the step says"),
        ("n, b", "next, previous step"),
        ("Escape", "end the guide"),
    ),
)
_GROUPS = {
    "What others hear": ("mute", "mute_typing", "dry", "remedy"),
    "Sound": ("pitch_down", "pitch_up", "undo", "redo"),
    "Voices and presets": ("presets", "search", "save"),
    "Recording": ("record", "save_minute"),
    "Devices": ("devices", "measure"),
}
_OTHERS = "The panel"


def all_topics(keys: dict[str, str], offered: tuple[Key, ...] = KEYS) -> list[Topic]:
    """Return the keys that work everywhere, in groups.

    Parameters
    ----------
    keys
        The keys from keys.yaml, by id.
    offered
        The actions that the run has.
    """
    labels = key_labels(keys)
    named = {id for ids in _GROUPS.values() for id in ids}
    groups = _GROUPS | {_OTHERS: tuple(key.id for key in KEYS if key.id not in named)}
    helps = {key.id: key.help for key in offered}
    topics = [
        Topic(title, tuple((labels[id], helps[id]) for id in ids if id in helps))
        for title, ids in groups.items()
    ]
    digits = ("1 to 9", "load a favourite preset")
    more = (("^p", "every action by its name"), ("Escape", "close the screen or dialog"))
    return [
        Topic(t.title, (*t.rows, digits))
        if t.title == "Voices and presets"
        else Topic(t.title, (*t.rows, *more))
        if t.title == _OTHERS
        else t
        for t in topics
    ]


class Help(Dialog):
    """Lists the keys.

    Parameters
    ----------
    topic
        The keys of what has the focus.
    keys
        The keys from keys.yaml, by id.
    where
        Path of keys.yaml.
    offered
        The actions that the run has.
    """

    def __init__(
        self, topic: Topic, keys: dict[str, str], where: str, offered: tuple[Key, ...]
    ) -> None:
        super().__init__()
        labels = key_labels(keys)
        parts: list[str | tuple[str, str]] = []
        own = Topic(topic.title, tuple((key.format_map(labels), text) for key, text in topic.rows))
        for number, group in enumerate([own, *all_topics(keys, offered)]):
            end = " (this has the focus)" if number == 0 else ""
            parts.append((f"{group.title}{end}\n", "bold $primary"))
            parts += [f"{key:>12}  {text}\n" for key, text in group.rows]
            parts.append("\n")
        named = ", ".join(key.id for key in KEYS)
        parts.append(f'To change keys, add lines such as\n  mute: "k"\nto {where}\nfor: {named}.')
        self._text = Content.assemble(*parts)

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        with Vertical() as box:
            box.border_title = "Keys"
            with VerticalScroll():
                yield Static(self._text, markup=False)

    def on_mount(self) -> None:
        """Focus the text so that it scrolls."""
        self.query_one(Vertical).border_subtitle = f"Esc closes, {mute_key(self)} mutes"
        self.query_one(VerticalScroll).focus()
