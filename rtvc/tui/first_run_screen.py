"""The first steps: microphone, level, speaker, headphones, voice; each can be skipped."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import OptionList

from rtvc.live.controller import Controller
from rtvc.live.scanner import Scanner
from rtvc.settings import SETTINGS
from rtvc.tui.actions import Actions
from rtvc.tui.devices_screen import DeviceList
from rtvc.tui.footer import KeyLine
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.notice import report
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import TextPane
from rtvc.tui.voice_list import VoiceList, items

_STEPS = (
    ("input", "Which microphone? Mark it, press Enter, and speak: the IN bar must move."),
    (
        "level",
        "Speak as loudly as you will, then be silent for a second. Enter sets gain and gate "
        "by what was heard, n leaves them.",
    ),
    ("output", "Where should your new voice be heard? Mark a speaker, and press Enter."),
    (
        "ears",
        "Put headphones on: the microphone must not hear the speaker. Speak, and hear yourself; "
        "space switches between your own voice and the new one. Enter goes on.",
    ),
    ("finder", "Which voice? Mark one and press Enter; try as many as you like. n ends the guide."),
)
_HINTS = (
    ("Enter", "take", ""),
    ("n", "next", "screen.next"),
    ("b", "before", "screen.before"),
    ("Esc", "skip all", "screen.skip"),
)
_PEAK_DB = -9.0
_OVER_NOISE_DB = 8.0
_HEARD = 300


class FirstRunScreen(Screen[None]):
    """One step after the other, with the levels always in sight.

    Parameters
    ----------
    controller
        Opens the devices that are chosen, and takes gain and gate.
    scanner
        Looks for devices.
    actions
        Remembers that the steps have been shown.
    """

    AUTO_FOCUS = "#input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next", show=False),
        Binding("b", "before", show=False),
        Binding("escape", "skip", show=False),
        Binding("enter", "take", show=False),
    ]

    def __init__(self, controller: Controller, scanner: Scanner, actions: Actions) -> None:
        super().__init__()
        self._controller = controller
        self._scanner = scanner
        self._actions = actions
        self._step = 0
        self._levels: deque[tuple[float, float]] = deque(maxlen=_HEARD)

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield TextPane("badge")
        yield TextPane("message")
        yield LevelMeter("IN", "input-meter")
        yield LevelMeter("OUT", "output-meter")
        yield TextPane("told")
        yield DeviceList("input")
        yield DeviceList("output")
        yield VoiceList("finder")
        yield KeyLine(_HINTS)

    def on_mount(self) -> None:
        """Begin with the first step."""
        self._scanner.scan_devices()
        self.set_interval(2.0, self._scanner.scan_devices)
        self._go(0)

    def show(self, view: Snapshot) -> None:
        """Show a moment."""
        badge, stats = view.badge, view.stats
        self.query_one("#badge", TextPane).put(
            (f" {badge.sign} {badge.word} ", f"bold reverse {badge.style}"),
            (f"  FIRST STEPS, {self._step + 1} of {len(_STEPS)}", "bold"),
        )
        self.query_one("#message", TextPane).put((_STEPS[self._step][1], "bold"))
        self.query_one("#input-meter", LevelMeter).show(stats.input, view.now)
        self.query_one("#output-meter", LevelMeter).show(stats.output, view.now)
        self._levels.append((stats.input.peak_db, stats.input.rms_db))
        self.query_one("#told", TextPane).put((self._told(view), ""))
        for devices in self.query(DeviceList):
            devices.put(view.available, view.wanted, view.devices)
        self.query_one(VoiceList).put(items({}, view.entries, view.favourites, view.preset))

    def action_take(self) -> None:
        """Do what the step proposes, and go on."""
        if _STEPS[self._step][0] == "level":
            self._set_level()
        self.action_next()

    def action_next(self) -> None:
        """Go on; after the last step, close."""
        if self._step + 1 < len(_STEPS):
            self._go(self._step + 1)
        else:
            self.action_skip()

    def action_before(self) -> None:
        """Go back a step."""
        self._go(max(self._step - 1, 0))

    def action_skip(self) -> None:
        """Close, and do not come again by itself."""
        memory = replace(self._actions.memory, guided=True)
        report(self, partial(self._actions.remember, memory))
        self.dismiss()

    @on(DeviceList.OptionSelected, "DeviceList")
    def _device(self, event: OptionList.OptionSelected) -> None:
        chosen = event.option_list
        if isinstance(chosen, DeviceList):
            choice = chosen.change(self._controller.wanted)
            if choice != self._controller.wanted:
                self._controller.select_devices(choice)
            self.action_next()

    def _go(self, step: int) -> None:
        self._step = step
        self._levels.clear()
        for id in ("input", "output", "finder"):
            self.query_one(f"#{id}").display = _STEPS[step][0] == id
        lists = self.query("#input, #output, #finder OptionList")
        shown = [widget for widget in lists if all(a.display for a in widget.ancestors_with_self)]
        self.set_focus(shown[0] if shown else None)

    def _told(self, view: Snapshot) -> str:
        if view.message or view.badge.text:
            return view.message or view.badge.text
        if _STEPS[self._step][0] == "level" and (found := self._proposal()):
            return f"Proposed: input gain {found[0]:+.0f} dB, gate {found[1]:.0f} dBFS."
        return ""

    def _proposal(self) -> tuple[float, float] | None:
        """Return the gain in dB and the gate in dBFS for what was heard, None if too little was."""
        peaks = [peak for peak, _ in self._levels if peak > float("-inf")]
        noises = sorted(rms for _, rms in self._levels if rms > float("-inf"))
        if len(peaks) < 20:
            return None
        gain, gate = SETTINGS["input_gain"], SETTINGS["gate"]
        # The meter is before the gain, the gate behind it.
        wanted = round(_PEAK_DB - max(peaks))
        floor = noises[len(noises) // 20] + wanted + _OVER_NOISE_DB
        return (
            min(max(wanted, gain.low), gain.high),
            # Never so high that quiet speech is lost.
            min(max(round(floor), gate.low), -35.0),
        )

    def _set_level(self) -> None:
        found = self._proposal()
        if found is not None:
            settings = self._controller.settings
            self._controller.apply(settings.replace(input_gain=found[0], gate=found[1]))
