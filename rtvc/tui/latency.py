"""The parts of the latency in the words of the settings; a click leads to the setting."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from textual import events
from textual.message import Message

from rtvc.live.health import Health
from rtvc.stats import Latency
from rtvc.tui.text_pane import StyledText, TextPane

DEVICES = "devices"
_WIDE = 80
"""Columns from which the measured latency is shown too."""
_PARTS = {
    "device_in": ("microphone", DEVICES),
    "block": ("block", "block"),
    "headroom": ("headroom", "headroom"),
    "echo": ("echo", "echo"),
    "noise": ("noise", "noise"),
    "speech_gate": ("speech gate", "speech_gate"),
    "lookahead": ("lookahead", "lookahead"),
    "crossfade": ("crossfade", "crossfade"),
    "search": ("crossfade", "crossfade"),
    "filters": ("filters", ""),
    "device_out": ("speaker", DEVICES),
}
"""The label of each part, and the setting that decides it, or `DEVICES`; "" for none."""


class LatencyBar(TextPane):
    """The latency from microphone to speaker, with its parts in proportion."""

    @dataclass
    class Clicked(Message):
        """A part was clicked: the name of its setting, or `DEVICES`."""

        target: str

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._ends: list[tuple[int, str]] = []
        """For each part the column after it, and what a click leads to."""

    def show(self, latency: Latency, health: Health) -> None:
        """Show the latency with the devices' reported and, if known, their measured part."""
        title = f" LATENCY {latency.total * 1000:.0f} ms "
        measured, real = health.measured, health.measured_latency
        if measured is not None and real is not None and self.size.width >= _WIDE:
            age = f"({measured.age}) " if "day" in measured.age else ""
            title = (
                f" LATENCY reported {latency.total * 1000:.0f}, measured {real * 1000:.0f} ms {age}"
            )
        cells = self.size.width - len(title) - 1
        parts: list[StyledText] = [(title, "bold")]
        self._ends = [(len(title), "")]
        for text, target, number in _segments(latency, cells):
            # Alternate reverse and plain, so that the parts differ without colours too.
            parts += [(text, "reverse" if number % 2 == 0 else "$text on $panel"), ("│", "")]
            self._ends.append((self._ends[-1][0] + len(text) + 1, target))
        self.put(*parts)

    def on_click(self, event: events.Click) -> None:
        """Lead to the setting of the clicked part."""
        target = next((target for end, target in self._ends if event.x < end), "")
        if target:
            self.post_message(self.Clicked(target))


def _segments(latency: Latency, cells: int) -> list[tuple[str, str, int]]:
    """Return text, target and number of each part that is wide enough to be seen."""
    parts: list[tuple[str, str, int]] = []
    done, drawn = 0.0, 0
    for field in dataclasses.fields(latency):
        seconds = getattr(latency, field.name)
        if seconds <= 0:
            continue
        done += seconds
        width = round(done / latency.total * cells) - drawn
        drawn += width
        if width < 2:
            continue
        label, target = _PARTS[field.name]
        ms = f"{seconds * 1000:.0f}"
        fitting = (text for text in (f"{label} {ms}", label, ms, "") if len(text) < width)
        parts.append((f"{next(fitting):^{width - 1}}", target, len(parts)))
    return parts
