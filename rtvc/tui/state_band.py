"""The band at the top of every screen: what the others hear now."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual.message import Message

from rtvc.errors import escaped
from rtvc.live.badge import STARTING, Badge
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import StyledText, TextPane, cut, printable

_GAP = 2
_SMALLEST_NAME = 9


class StateBand(TextPane):
    """Two or three rows over the full width, coloured by the state.

    The first row has the state in words, what is recorded, and the latency; the second what the
    others hear; the third, or the rest of the second, the devices.

    Parameters
    ----------
    labels
        The label of the key of each action, by its id.
    """

    @dataclass
    class Clicked(Message):
        """The band was clicked while it showed this state."""

        badge: Badge

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__("state")
        self._labels = labels
        self._badge = STARTING
        self._colour = ""

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of a snapshot."""
        badge = self._badge = snapshot.badge
        if badge.colour != self._colour:
            self.remove_class(f"-{self._colour}")
            self._colour = badge.colour
            self.add_class(f"-{badge.colour}")
        width = self.size.width
        edge = self._edge(badge, snapshot.now, 1 if width < 60 else 3)
        room = width - 2 * len(edge[0]) - 2
        rows = self._rows(snapshot, room)
        lines: list[StyledText] = []
        for number, (left, right, style) in enumerate(rows):
            end = edge[number % len(edge)]
            text = f"{end} {left}{right:>{max(room - cell_len(left), 0)}} {end[::-1]}"
            lines.append((text if number == len(rows) - 1 else f"{text}\n", style))
        self.put(*lines)

    def on_click(self) -> None:
        """Report a click."""
        self.post_message(self.Clicked(self._badge))

    def _rows(self, snapshot: Snapshot, room: int) -> list[tuple[str, str, str]]:
        """Return the left and the right part of each row, and its style."""
        badge, stats = snapshot.badge, snapshot.stats
        delay = f"{stats.latency.total * 1000:.0f} ms latency" if stats.blocks else ""
        recording = "" if snapshot.recorded_s is None else f"REC {clock(snapshot.recorded_s)}"
        warning = "FAIL-OPEN" if stats.fail_open else ""
        words = [
            f"{badge.sign} {badge.word}",
            warning,
            recording,
            f"{self._labels[badge.key]} {badge.note}" if badge.key else "",
        ]
        # The last one is the least important.
        while cell_len("  ".join(filter(None, words))) > room and len(words) > 1:
            words.pop()
        title = "  ".join(filter(None, words))
        missing = [word for word in (warning, recording) if word and word not in words]
        heard = "  ".join([*missing, _heard(snapshot, room, "Others hear: ")])
        devices = in_words(snapshot)
        if self.size.height >= 3:
            first = delay if cell_len(title) + _GAP + len(delay) <= room else ""
            second = "" if first or cell_len(heard) + _GAP + len(delay) > room else delay
            return [
                (title, first, "bold"),
                (cut(heard, room), second, ""),
                (cut(devices, room), "", ""),
            ]
        if missing and cell_len("  ".join(missing)) + 2 * _GAP + len(delay) >= room:
            delay = ""  # else the time of the recording would be cut
        if cell_len(heard) + _GAP + len(delay) > room:
            heard = "  ".join([*missing, _heard(snapshot, room - len(delay) - _GAP, "")])
        left = cut(heard, room - len(delay) - _GAP)
        spare = room - cell_len(left) - len(delay) - 2 * _GAP
        if spare >= _SMALLEST_NAME:
            left = f"{left}  {cut(devices, spare)}"
        return [(title, "", "bold"), (left, delay, "")]

    def _edge(self, badge: Badge, now: float, cells: int) -> tuple[str, str]:
        """Return the ends of even and odd rows; a pattern of two characters moves."""
        shift = int(now * 2) % 2
        pattern = badge.edge * cells
        return pattern[shift : shift + cells], pattern[1 - shift : 1 - shift + cells]


def in_words(snapshot: Snapshot) -> str:
    """Return the devices in one line."""
    devices = snapshot.devices
    also = f" + {devices.monitor}" if devices.monitor else ""
    return escaped(f"{devices.input or 'no microphone'} > {devices.output or 'no speaker'}{also}")


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"


def _heard(snapshot: Snapshot, room: int, title: str) -> str:
    """Return a title and what the others hear, with as many changes of the preset as fit."""
    return f"{title}{printable(_sound(snapshot, room - len(title)))}"


def _sound(snapshot: Snapshot, room: int) -> str:
    if snapshot.badge.others_hear:
        return snapshot.badge.others_hear
    if snapshot.origin is not None:
        return snapshot.origin.summary(room, cell_len)
    settings, voice = snapshot.settings, snapshot.stats.voice or snapshot.settings.voice
    if voice == settings.voice and not snapshot.stats.loading:
        voice = settings.voice_to_load
    return f"{voice}, your settings"
