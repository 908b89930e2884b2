"""What keys, clicks and the command palette do in the panel."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from rtvc.config.panel_state import keys_path, load_keys, load_panel_state
from rtvc.config.preset_manager import PresetManager
from rtvc.errors import RtvcError, UsageError
from rtvc.library.voice_defaults import own_settings
from rtvc.live.actions import Actions
from rtvc.live.badge import STARTING
from rtvc.live.controller import Controller
from rtvc.live.held_keys import HeldKeys
from rtvc.live.mode_keys import ModeKeys
from rtvc.settings import SETTINGS
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.dialogs import Ask, Messages, before_measuring
from rtvc.tui.first_run_screen import FirstRunScreen
from rtvc.tui.help import Help
from rtvc.tui.key_driver import KeyDriver
from rtvc.tui.keys import (
    KEY_IDS,
    MUTE,
    bindings,
    chosen_keys,
    key_label,
    key_labels,
    offered_keys,
)
from rtvc.tui.level_meter import LevelMeter
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.message_log import LogEntry, MessageLog
from rtvc.tui.notice import Notice, outcome
from rtvc.tui.panel_screen import PanelScreen
from rtvc.tui.presets_screen import PresetsScreen
from rtvc.tui.reserved_keys import reserved_keys
from rtvc.tui.save_dialog import SavePreset
from rtvc.tui.state_band import StateBand
from rtvc.tui.themes import THEMES
from rtvc.tui.voice_list import VoiceList

if TYPE_CHECKING:
    from textual.command import Provider

_BASE = 2
"""Screens that stay open: Textual's default screen and the main screen."""


def _actions_by_name() -> type[Provider]:
    """Return the source of the command palette, which is imported when it is opened."""
    from rtvc.tui.palette import ActionProvider

    return ActionProvider


class ActionApp(App[None]):
    """The app's actions, with their messages; `Panel` adds what is shown.

    Parameters
    ----------
    controller
        The live run.
    message
        A message to show at the start.
    confirm_dry
        Whether the first press of the key for your own voice asks.
    clock
        Returns a monotonic time in seconds.
    """

    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_actions_by_name}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(
        self,
        controller: Controller,
        message: str = "",
        *,
        confirm_dry: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(driver_class=KeyDriver)
        self.controller = controller
        self.never_dry = controller.never_dry
        self.preset_manager = PresetManager(own_settings)
        memory, damaged = load_panel_state()
        chosen, unreadable = load_keys(KEY_IDS)
        self.chosen_keys, clash = chosen_keys(chosen, reserved_keys(ActionApp))
        labels = self._labels = key_labels(self.chosen_keys)
        self._own_voice_key = labels["dry"]
        self._mode_keys = ModeKeys(
            confirm=confirm_dry,
            never=self.never_dry,
            own_voice_key=labels["dry"],
            mute_key=labels["mute"],
            clock=clock,
        )
        self.actions = Actions(
            controller,
            self.preset_manager,
            memory,
            self._mode_keys,
            labels,
            held_keys=HeldKeys(clock),
        )
        # Before the app runs, so that its styles are computed once.
        for theme in THEMES.values():
            self.register_theme(theme)
        self._apply_theme()
        self._clock = clock
        self._messages = MessageLog()
        if text := " ".join(filter(None, (message, damaged, unreadable, clash))):
            self._messages.add(text, clock(), urgent=True)
        self._badge = STARTING

    def _apply_theme(self) -> None:
        self.theme = THEMES[self.actions.memory.theme].name

    # Messages.

    def show_message(self, text: str, *, urgent: bool = False, topic: str = "") -> None:
        """Show a message: for some seconds, or until a key is pressed if it is urgent."""
        self._messages.add(text, self._clock(), urgent=urgent, topic=topic)

    def _shown_messages(self, now: float) -> tuple[LogEntry, ...]:
        """Return the question about your own voice, if it is open, and the messages."""
        question = self._mode_keys.question
        asked = (LogEntry(question, "", urgent=False),) if question else ()
        return (*asked, *self._messages.current(now))

    async def on_event(self, event: events.Event) -> None:
        """Handle an event; a key removes the urgent message, and may withdraw the question.

        Any key but its own withdraws the question about your own voice, so a text typed into the
        wrong window does not answer it. Escape does nothing else then.
        """
        if isinstance(event, events.Key):
            self._messages.key_pressed(self._clock())
            if self._mode_keys.question and key_label(event.key) != self._own_voice_key:
                self._mode_keys.withdraw()
                if event.key == "escape":
                    return self.show_message("Your own voice stays off.")
        await super().on_event(event)

    @on(Notice)
    def _on_notice(self, notice: Notice) -> None:
        self.show_message(notice.text, urgent=notice.urgent)

    def perform(self, act: Callable[[], str | None]) -> None:
        """Call `act`, and show its message or the reason why it failed."""
        notice = outcome(act)
        if notice.text:
            self._on_notice(notice)

    # Key actions.

    @on(VoiceList.Selected)
    def _taken(self, event: VoiceList.Selected) -> None:
        item = event.item
        take = self.actions.select_voice if item.is_voice else self.actions.load_preset
        self.perform(partial(take, item.name))

    @on(VoiceList.FavouriteAsked)
    def _favourite_asked(self, event: VoiceList.FavouriteAsked) -> None:
        name, actions = event.item.name, self.actions
        if event.item.is_voice:
            save = self._labels["save"]
            self.show_message(f"Only presets can have a key. Save the voice as a preset ({save}).")
        elif event.digit:
            self.perform(partial(actions.assign_favourite, event.digit, name))
        elif actions.free_digit or actions.memory.digit_of(name):
            self.perform(partial(actions.toggle_favourite, name))
        else:
            question = f"All nine keys are assigned. Which one is for {name!r} now (1 to 9)?"
            self.push_screen(Ask(question, "", partial(self._use_digit, name)))

    def _use_digit(self, name: str, text: str) -> None:
        if len(text) != 1 or text not in "123456789":
            raise UsageError(f"{text!r} is not a digit from 1 to 9.")
        self.perform(partial(self.actions.assign_favourite, int(text), name))

    def action_load_preset(self, name: str) -> None:
        """Load a preset."""
        self.perform(partial(self.actions.load_preset, name))

    @on(LevelMeter.GateMoved)
    def _gate_moved(self, event: LevelMeter.GateMoved) -> None:
        self.perform(partial(self.actions.change, SETTINGS["gate"], event.gate_db))

    def action_dry(self) -> None:
        """Switch between converted and dry; ask first."""
        self._messages.supersede()
        self.perform(self.actions.toggle_dry)

    def action_mute(self) -> None:
        """Mute or unmute the output."""
        self._messages.supersede()
        self.perform(self.actions.toggle_mute)

    @on(StateBand.Clicked)
    async def _state_clicked(self, event: StateBand.Clicked) -> None:
        """Do what the state proposes; else mute: a click must not let anyone hear more."""
        if event.badge.key in ("", MUTE):
            self.perform(self.actions.mute)
        else:
            await self.run_action(event.badge.key)

    def action_pitch(self, semitones: int) -> None:
        """Shift the pitch."""
        self.perform(partial(self.actions.shift_pitch, semitones))

    def action_favourite(self, digit: int) -> None:
        """Load the favourite preset of a digit."""
        self.perform(partial(self.actions.load_favourite, digit))

    def action_record(self) -> None:
        """Start or stop a recording."""
        self.perform(self.actions.press_record)

    def action_save_minute(self) -> None:
        """Write the last minute to a folder."""
        self.perform(self.actions.press_save_minute)

    def action_remember_voice(self) -> None:
        """Let the voice in use remember its settings."""
        self.perform(self.actions.remember_voice)

    def action_remedy(self) -> None:
        """Do what the state proposes."""
        self.perform(partial(self.actions.apply_remedy, self._badge.remedy))

    def action_messages(self) -> None:
        """Show the last messages."""
        self.push_screen(Messages(tuple(self._messages.entries)))

    def action_undo(self) -> None:
        """Undo the last change."""
        self.perform(self.actions.undo)

    def action_redo(self) -> None:
        """Redo the last undone change."""
        self.perform(self.actions.redo)

    def action_spectrogram(self) -> None:
        """Show or hide the spectrogram."""
        self.perform(self.actions.toggle_spectrogram)

    def action_theme(self) -> None:
        """Switch to the next theme."""
        self.perform(self.actions.next_theme)
        self._apply_theme()

    def action_measure(self) -> None:
        """Ask whether to measure the latency of the devices, if it can be measured now."""
        try:
            self.controller.check_measurable()
        except RtvcError as error:
            return self.show_message(str(error), urgent=True)
        names = self.controller.names
        measure = partial(self.perform, self.controller.measure_latency)
        self.push_screen(before_measuring(names.input, names.output, measure))

    def action_save(self) -> None:
        """Ask for a name, and save the settings as a preset."""
        self.push_screen(SavePreset(self.actions))

    # Screens.

    def action_search(self) -> None:
        """Focus the search field."""
        # The guide has a list that only its last step shows.
        shown = [voices for voices in self.screen.query(VoiceList) if voices.display]
        if not shown:
            self._close_screens()
        if isinstance(self.screen, MainScreen):
            self.screen.search()
        else:
            shown[0].search()

    def action_presets(self) -> None:
        """Open the presets screen, or close it."""
        self._toggle_screen(
            PresetsScreen(self.preset_manager, self.actions, self.chosen_keys, self._clock)
        )

    def action_devices(self) -> None:
        """Open the devices screen, or close it."""
        self._toggle_screen(
            DevicesScreen(self.controller, self.controller.scanner, self.chosen_keys)
        )

    def action_guide(self) -> None:
        """Open the first-run guide, or close it."""
        controller = self.controller
        self._toggle_screen(
            FirstRunScreen(controller, controller.scanner, self.actions, self.chosen_keys)
        )

    def action_help(self) -> None:
        """Show the keys of what has the focus, and all others."""
        screen = self.screen
        if isinstance(screen, PanelScreen):
            where, offered = str(keys_path()), offered_keys(self)
            self.push_screen(Help(screen.help_topic(), self.chosen_keys, where, offered))

    def action_command_palette(self) -> None:
        """Open the command palette."""
        from rtvc.tui.palette import Palette  # imported when it is opened

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette("--command-palette"))

    def action_close_screen(self) -> None:
        """Close the open screen."""
        if len(self.screen_stack) > _BASE:
            self.pop_screen()

    def _toggle_screen(self, screen: Screen[None]) -> None:
        """Open a screen, or close it if one of its type is open."""
        opened = isinstance(self.screen, type(screen))
        self._close_screens()
        if not opened:
            self.push_screen(screen)

    def _close_screens(self) -> None:
        while len(self.screen_stack) > _BASE:
            if isinstance(self.screen, FirstRunScreen):  # do not open it at the next start
                self.perform(partial(self.actions.remember, guided=True))
            self.pop_screen()
