"""The main screen."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from rtvc.config.preset_manager import format_value, setting_label
from rtvc.live.actions import Actions
from rtvc.live.controller import Controller
from rtvc.live.health import health
from rtvc.live.scanner import Scanner
from rtvc.settings import Setting, Value
from rtvc.tui.dialogs import Ask
from rtvc.tui.footer import KeyLine
from rtvc.tui.latency import LatencyBar, StepFigures
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.notice import report
from rtvc.tui.pitch_trace import PitchTrace
from rtvc.tui.settings_list import SettingsList
from rtvc.tui.snapshot import Snapshot, in_words
from rtvc.tui.spectrogram import Spectrogram
from rtvc.tui.text_pane import TextPane
from rtvc.tui.voice_list import VoiceList, items


class MainScreen(Screen[None]):
    """State, levels, pitch, latency, settings, voices and presets.

    Parameters
    ----------
    controller
        Holds the current settings.
    scanner
        Lists the voices.
    actions
        Change settings.
    keys
        The keys from keys.yaml, by id.
    """

    AUTO_FOCUS = "SettingsList"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "settings", show=False)]

    def __init__(
        self, controller: Controller, scanner: Scanner, actions: Actions, keys: dict[str, str]
    ) -> None:
        super().__init__()
        self._controller = controller
        self._scanner = scanner
        self._actions = actions
        self._keys = keys
        # Classes for the style sheet, each with its smallest number of columns or rows.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-thin"), (60, "-normal"), (110, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-low"), (22, "-middle"), (36, "-tall")]

    def compose(self) -> ComposeResult:
        """Create the widgets."""
        yield TextPane("badge")
        yield TextPane("message")
        yield LevelMeter("IN", "input-meter")
        yield LevelMeter("OUT", "output-meter")
        yield LatencyBar("latency")
        yield StepFigures("figures")
        with Horizontal(id="pictures"):
            yield PitchTrace("trace")
            yield Spectrogram("spectrogram")
        with Horizontal():
            yield SettingsList(
                lambda: self._controller.settings,
                self._change,
                lambda: list(self._scanner.voices),
                lambda: origin.settings if (origin := self._actions.origin) else None,
                "settings",
            )
            yield VoiceList("voices", "voices and presets")
        yield KeyLine(keys=self._keys)

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        stats = snapshot.stats
        self._show_badge(snapshot)
        self.query_one("#input-meter", LevelMeter).show(stats.input, snapshot.now)
        self.query_one("#output-meter", LevelMeter).show(stats.output, snapshot.now)
        self.set_class(snapshot.spectrum is None, "-plain")
        self.query_one(PitchTrace).show(stats)
        self.query_one(Spectrogram).show(snapshot.spectrum or ())
        self.query_one(SettingsList).show(snapshot.settings)
        if snapshot.slow:
            figures = health(stats, snapshot.measured)
            self.query_one(LatencyBar).show(stats.latency, figures)
            self.query_one(StepFigures).show(stats, figures)
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
        self.query_one(SettingsList).focus()

    def _show_badge(self, snapshot: Snapshot) -> None:
        badge = snapshot.badge
        pane = self.query_one("#badge", TextPane)
        state = f" {badge.sign} {badge.word} "
        recording = "" if snapshot.recorded_s is None else f"  REC {_clock(snapshot.recorded_s)}"
        warning = "  FAIL-OPEN" if snapshot.stats.fail_open else ""
        room = pane.size.width - len(state + recording + warning) - 4
        origin = snapshot.origin
        between = f"  {origin.summary(room) if origin else f'{snapshot.settings.voice} (edited)'}"
        room -= len(between) - 2
        names = in_words(snapshot.devices)
        names = names if len(names) <= room else f"{names[: max(room - 1, 0)]}…" if room > 8 else ""
        pane.put(
            (state, f"bold reverse {badge.style}"),
            (recording, "bold reverse $error"),
            (warning, "bold reverse $warning"),
            (between, "bold"),
            (f"{names:>{max(room, 0) + 1}}", ""),
        )
        setting = self.query_one(SettingsList).setting
        # Why the voice is not heard comes before any other message.
        reason = badge.text if badge.alarming else ""
        text = " ".join(filter(None, (reason, snapshot.message))) or badge.text
        text = text or f"{setting_label(setting.name)}: {setting.help}"
        style = "bold" if badge.text or snapshot.message else "$text-muted"
        self.query_one("#message", TextPane).put((text.replace("\n", " "), style))

    @on(SettingsList.Typed)
    def _typed(self, event: SettingsList.Typed) -> None:
        setting = event.setting
        value = format_value(setting.name, getattr(self._controller.settings, setting.name))
        question = f"{setting_label(setting.name)}: {setting.help}\n{setting.allowed}"
        self.app.push_screen(Ask(question, value, partial(self._use_typed, setting)))

    @on(events.Click, "#badge")
    async def _badge_clicked(self) -> None:
        await self.run_action("app.dry")

    def _use_typed(self, setting: Setting, text: str) -> None:
        """Use a typed value, and say so if it is rounded; the dialog shows an error."""
        self._change(setting, setting.parse(text))
        report(self, partial(setting.rounding, text))

    def _change(self, setting: Setting, value: Value) -> None:
        report(self, partial(self._actions.change, setting, value))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"
