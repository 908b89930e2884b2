"""The main screen."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from rtvc.config.preset_manager import format_value, setting_label
from rtvc.live.actions import Actions
from rtvc.live.controller import Controller
from rtvc.live.health import health
from rtvc.setting import Setting, Value
from rtvc.settings import BUILT_IN, NO_MORPH
from rtvc.tui.dialogs import Ask
from rtvc.tui.health_line import HealthLine
from rtvc.tui.help import LIST_TOPIC, SETTINGS_TOPIC, Topic
from rtvc.tui.latency import DEVICES, LatencyBar
from rtvc.tui.notice import report
from rtvc.tui.panel_screen import PanelScreen, meters
from rtvc.tui.pitch_trace import PitchTrace, target_pitches_hz
from rtvc.tui.setting_rows import Facts
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.spectrogram import Spectrogram
from rtvc.tui.tab_row import TabRow
from rtvc.tui.voice_list import VoiceList, items

_FRAMED = 110, 36
"""Columns and rows from which the regions have frames."""
_FINDING = "-finding"
"""Class while the list of voices and presets is in use, or was used last."""


class MainScreen(PanelScreen):
    """State, levels, pitch, latency, settings, voices and presets.

    Parameters
    ----------
    controller
        Holds the current settings.
    actions
        Change settings.
    keys
        The keys from keys.yaml, by id.
    """

    AUTO_FOCUS = "SettingsList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "settings", show=False),
        Binding("h", "figures", show=False),
    ]

    def __init__(self, controller: Controller, actions: Actions, keys: dict[str, str]) -> None:
        super().__init__(keys)
        self._controller = controller
        self._actions = actions
        self._facts = Facts()

    def compose_body(self) -> ComposeResult:
        """Create the widgets between the state and the messages."""
        yield from meters()
        yield LatencyBar("latency")
        yield HealthLine("health")
        with Horizontal(id="pictures") as pictures:
            pictures.border_title = "Pitch and sound"
            yield PitchTrace("trace")
            yield Spectrogram("spectrogram")
        with Horizontal(id="lists"):
            with Vertical(id="settings-box") as box:
                box.border_title = "Settings, Esc"
                settings_list = SettingsList(
                    lambda: self._controller.settings,
                    self._change,
                    self._reset,
                    lambda: self._actions.start,
                    "settings",
                )
                yield TabRow(settings_list)
                yield settings_list
            voices = VoiceList("voices", "voices, presets")
            voices.border_title = Content(f"Voices and presets, {self._labels['search']}")
            yield voices

    def on_resize(self) -> None:
        """Draw frames around the regions where there is room."""
        self.set_class(self.size.width >= _FRAMED[0] and self.size.height >= _FRAMED[1], "-framed")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Keep what has the focus in sight when the window becomes narrow."""
        around = event.widget.ancestors_with_self
        self.set_class(any(isinstance(one, VoiceList) for one in around), _FINDING)

    def show_body(self, snapshot: Snapshot) -> None:
        """Show levels, pitch, latency, settings, voices and presets."""
        stats = snapshot.stats
        self.show_levels(snapshot)
        self.set_class(snapshot.spectrum is None, "-plain")
        self.query_one(PitchTrace).show(stats, snapshot.now, target_pitches_hz(snapshot.settings))
        self.query_one(Spectrogram).show(snapshot.spectrum or (), snapshot.now)
        if snapshot.slow:
            self._facts = Facts.of(
                stats,
                monitor=bool(snapshot.devices.monitor),
                voices=tuple(snapshot.voices),
                targets=_morph_targets(snapshot),
            )
        self.query_one(SettingsList).show(snapshot.settings, self._facts)
        if snapshot.slow:
            figures = health(stats, snapshot.measured)
            self.query_one(LatencyBar).show(stats.latency, figures)
            self.query_one(HealthLine).show(stats, figures, snapshot.now)
            self.query_one(VoiceList).put(
                items(
                    snapshot.voices,
                    snapshot.entries,
                    snapshot.favourites,
                    snapshot.preset,
                    voice=stats.voice,
                    loading=snapshot.settings.voice if stats.loading else "",
                )
            )

    def action_settings(self) -> None:
        """Focus the settings."""
        self.remove_class(_FINDING)
        self.query_one(SettingsList).focus()

    def search(self) -> None:
        """Focus the search field, which takes the place of the settings if there is no room."""
        self.add_class(_FINDING)
        self.query_one(VoiceList).search()

    def hint(self, snapshot: Snapshot) -> str:
        """Return what has the focus: the reason of the state needs the room first."""
        if snapshot.badge.text and self.has_class("-flat"):
            return ""
        voices = self.query_one(VoiceList)
        if voices.has_focus_within:
            return voices.hint
        settings_list = self.query_one(SettingsList)
        setting = settings_list.setting
        if setting is None:
            return ""
        unused = "" if settings_list.applies(setting) else " It changes nothing with this voice."
        return f"{setting_label(setting.name)}: {setting.help}{unused}"

    def help_topic(self) -> Topic:
        """Return the keys of what has the focus."""
        return LIST_TOPIC if self.query_one(VoiceList).has_focus_within else SETTINGS_TOPIC

    @on(SettingsList.Moved)
    def _moved(self) -> None:
        self.query_one(TabRow).show()

    @on(LatencyBar.Clicked)
    async def _latency_clicked(self, event: LatencyBar.Clicked) -> None:
        if event.target == DEVICES:
            await self.run_action("app.devices")
        else:
            self.query_one(SettingsList).go_to(event.target)
            self.action_settings()

    def action_figures(self) -> None:
        """Show the health in words, or the figures."""
        line = self.query_one(HealthLine)
        line.figures = not line.figures

    def action_open_tab(self, tab: str) -> None:
        """Open a tab of the settings."""
        self.query_one(SettingsList).open_tab(tab)
        self.action_settings()

    def action_show_all(self) -> None:
        """Show all settings, or only those that change something."""
        self.query_one(SettingsList).action_all()

    @on(SettingsList.Typed)
    def _typed(self, event: SettingsList.Typed) -> None:
        setting = event.setting
        if setting.name == "voice":
            self.add_class(_FINDING)
            self.query_one(VoiceList).choose_voice(self._controller.settings.voice)
            return
        value = format_value(setting.name, getattr(self._controller.settings, setting.name))
        question = f"{setting_label(setting.name)}: {setting.help}\n{setting.allowed}"
        self.app.push_screen(Ask(question, value, partial(self._use_typed, setting)))

    def _use_typed(self, setting: Setting, text: str) -> None:
        """Use a typed value, and say so if it is rounded; the dialog shows an error."""
        self._change(setting, setting.parse(text))
        report(self, partial(setting.rounding, text))

    def _change(self, setting: Setting, value: Value) -> None:
        report(self, partial(self._actions.change, setting, value))

    def _reset(self, setting: Setting) -> None:
        report(self, partial(self._actions.reset, setting))


def _morph_targets(snapshot: Snapshot) -> tuple[str, ...]:
    """Return what the voice can morph to: other RVC voices, or presets of the built-in voice."""
    voice = snapshot.settings.voice
    if voice == BUILT_IN:
        names = [
            entry.name
            for entry in snapshot.entries
            if entry.preset is not None and entry.preset.settings.voice == BUILT_IN
        ]
    else:
        names = [name for name in snapshot.voices if name not in (voice, BUILT_IN)]
    return (NO_MORPH, *names)
