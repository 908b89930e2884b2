"""The first-run guide: microphone, level, speaker, headphones, voice; steps can be skipped."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList

from rtvc.live.actions import Actions
from rtvc.live.controller import Controller
from rtvc.live.devices import DeviceChoice
from rtvc.live.scanner import Scanner
from rtvc.settings import SETTINGS
from rtvc.stats import State
from rtvc.tui.devices_screen import DeviceList, DeviceRow, Kind
from rtvc.tui.help import GUIDE_TOPIC, Topic
from rtvc.tui.notice import Notice, report
from rtvc.tui.panel_screen import PanelScreen, meters
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import FlowPane
from rtvc.tui.voice_list import VoiceList, items

_STEPS = (
    ("input", "Choose your microphone with Enter, and speak: the IN bar must move."),
    (
        "level",
        "Speak as loudly as you are going to, then be silent for a second. Enter sets input gain{} "
        "and gate{}, n skips this.",
    ),
    ("output", "Choose the speaker for your new voice with Enter."),
    (
        "ears",
        "Put headphones on: the microphone must not pick up the speaker. Speak and "
        "listen{compare}. Enter continues.",
    ),
    ("voices", "Load presets with Enter, as many as you like. n ends the guide."),
)
_HINTS = (
    ("Enter", "select", ""),
    ("b", "back", "screen.back"),
    ("n", "next", "screen.next"),
    ("Esc", "skip all", "screen.skip"),
)
_TARGET_PEAK_DB = -9.0
_GATE_OVER_NOISE_DB = 8.0
_LEVELS = 150
"""Frames of which the levels count: those of 10 s."""
_LOW = 18
"""Rows from which there is room for a title and a hint about devices."""


class FirstRunScreen(PanelScreen):
    """One step at a time, with the level meters.

    Parameters
    ----------
    controller
        Opens the selected devices, and applies gain and gate.
    scanner
        Lists the devices.
    actions
        Saves that the guide has been shown.
    keys
        The keys from keys.yaml, by id.
    """

    HINTS = _HINTS
    AUTO_FOCUS = "#input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next", show=False),
        Binding("b", "back", show=False),
        Binding("escape", "skip", show=False),
        Binding("enter", "select", show=False),
    ]

    def __init__(
        self, controller: Controller, scanner: Scanner, actions: Actions, keys: dict[str, str]
    ) -> None:
        super().__init__(keys)
        self._controller = controller
        self._scanner = scanner
        self._actions = actions
        self._step = 0
        self._levels: deque[tuple[float, float]] = deque(maxlen=_LEVELS)
        self._opening: tuple[Kind, DeviceChoice] | None = None
        """The list and the device chosen in it, until it runs."""

    def compose_body(self) -> ComposeResult:
        """Create the widgets between the state and the messages."""
        yield FlowPane("step")
        yield from meters()
        yield DeviceList("input")
        yield DeviceList("output")
        yield VoiceList("voices")

    def on_mount(self) -> None:
        """Start with the first step."""
        self._scanner.scan_devices()
        self.set_interval(2.0, self._scanner.scan_devices)
        self._go(0)

    def help_topic(self) -> Topic:
        """Return the keys of the screen."""
        return GUIDE_TOPIC

    def show_body(self, snapshot: Snapshot) -> None:
        """Show the step with its lists, and the levels."""
        stats = snapshot.stats
        title = "" if self.size.height < _LOW else "FIRST STEPS, "
        title += f"{self._step + 1} of {len(_STEPS)}. "
        self.query_one("#step", FlowPane).put((title, "bold"), (self._text(), ""))
        self.show_levels(snapshot)
        self._go_on_once_open(snapshot)
        if stats.state is not State.STARTING:  # else they may be the previous microphone's
            self._levels.append((stats.input.peak_db, stats.input.rms_db))
        for devices in self.query(DeviceList):
            devices.put(snapshot.available, snapshot.wanted, snapshot.devices)
        self.query_one(VoiceList).put(
            items({}, snapshot.entries, snapshot.favourites, snapshot.preset)
        )

    def action_select(self) -> None:
        """Apply what the step proposes, and continue if it could."""
        if _STEPS[self._step][0] != "level":
            self.action_next()
            return
        found = self._proposal()
        if found is None:
            text = "Too little sound has arrived. Speak for a moment, or press n to skip this step."
            self.post_message(Notice(text))
        else:
            report(self, partial(self._set_level, *found))
            self.action_next()

    def action_next(self) -> None:
        """Go to the next step; after the last one, close."""
        if self._step + 1 < len(_STEPS):
            self._go(self._step + 1)
        else:
            self.action_skip()

    def action_back(self) -> None:
        """Go back one step."""
        self._go(max(self._step - 1, 0))

    def action_skip(self) -> None:
        """Close, and do not open at the next start."""
        report(self, partial(self._actions.remember, guided=True))
        self.dismiss()

    @on(DeviceList.OptionSelected, "DeviceList")
    def _device(self, event: OptionList.OptionSelected) -> None:
        chosen, row = event.option_list, event.option
        if isinstance(chosen, DeviceList) and isinstance(row, DeviceRow):
            selection = chosen.change(self._controller.requested, row.choice)
            if selection != self._controller.requested:
                self._controller.select_devices(selection)
            self._opening = chosen.kind, row.choice

    def _go_on_once_open(self, snapshot: Snapshot) -> None:
        """Leave the step once the device chosen in it runs; stay if it cannot be opened."""
        state = snapshot.stats.state
        if self._opening is None or state is State.STARTING:
            return
        (kind, choice), self._opening = self._opening, None
        if state is not State.DEVICE_LOST and getattr(self._controller.wanted, kind) == choice:
            self.action_next()

    def _go(self, step: int) -> None:
        self._step, self._opening = step, None
        self._levels.clear()
        for id in ("input", "output", "voices"):
            self.query_one(f"#{id}").display = _STEPS[step][0] == id
        lists = self.query("#input, #output, #voices OptionList")
        shown = [widget for widget in lists if all(a.display for a in widget.ancestors_with_self)]
        self.set_focus(shown[0] if shown else None)

    def hint(self, snapshot: Snapshot) -> str:
        """Return what keeps the step from going on."""
        if snapshot.stats.state is State.DEVICE_LOST:
            choose = "Choose a device that works, or press n to skip this step."
            return choose if self.size.height >= _LOW else ""
        return ""

    @property
    def _compare(self) -> str:
        if self._controller.never_dry:
            return ""
        return f"; {self._labels['dry']} switches between your own voice and the new one"

    def _text(self) -> str:
        """Return what to do in the step, with the proposed levels as soon as there are any."""
        name, text = _STEPS[self._step]
        if name != "level":
            return text.format(compare=self._compare)
        found = self._proposal()
        return text.format(
            *(f" {found[0]:+.0f} dB", f" {found[1]:.0f} dBFS") if found else ("", "")
        )

    def _proposal(self) -> tuple[float, float] | None:
        """Return gain in dB and gate in dBFS for the measured levels, None if there are too few."""
        peaks = [peak for peak, _ in self._levels if peak > float("-inf")]
        noises = sorted(rms for _, rms in self._levels if rms > float("-inf"))
        if len(peaks) < 20:
            return None
        gain, gate = SETTINGS["input_gain"], SETTINGS["gate"]
        # These levels are before the gain, the gate is after it.
        wanted = round(_TARGET_PEAK_DB - max(peaks))
        floor = noises[len(noises) // 20] + wanted + _GATE_OVER_NOISE_DB
        return (
            min(max(wanted, gain.low), gain.high),
            # Low enough to pass quiet speech.
            min(max(round(floor), gate.low), -35.0),
        )

    def _set_level(self, gain: float, gate: float) -> str:
        settings = self._controller.settings
        self._controller.apply(settings.replace(input_gain=gain, gate=gate))
        return f"Set input gain {gain:+.0f} dB, gate {gate:.0f} dBFS."
