"""The panel: what its keys do, and the clock that looks at the engine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from rtvc.errors import RtvcError
from rtvc.panel_file import THEMES as THEME_NAMES
from rtvc.panel_file import Memory, keys_path, load_keys, load_memory, save_memory
from rtvc.settings import KNOBS, Knob, Settings, Value
from rtvc.shelf import Entry, Shelf, differences, label, shown
from rtvc.studio import Studio
from rtvc.tui.badge import Judge
from rtvc.tui.devices_screen import DevicesScreen
from rtvc.tui.dialogs import Ask, Help
from rtvc.tui.driver import Driver
from rtvc.tui.finder import PRESET, VOICE, Finder
from rtvc.tui.guide import Guide
from rtvc.tui.keys import KEY_IDS, bindings, keymap
from rtvc.tui.main_screen import MainScreen
from rtvc.tui.presets_screen import PresetsScreen
from rtvc.tui.themes import THEMES
from rtvc.tui.view import Live, View

_FPS = 20
_SLOW_EVERY = 10
"""Looks between two updates of what is read, not seen."""
_MESSAGE_S = 6.0
_TIDY_S = 2.0
_BASE = 2
"""Screens that are never closed: Textual's own and the main one."""


class Panel(App[None]):
    """The control panel.

    Parameters
    ----------
    studio
        Not started yet; the panel starts and closes it.
    message
        A sentence to begin with.

    Attributes
    ----------
    farewell
        What is to be told after the end, "" if nothing is.
    """

    CSS_PATH = "app.tcss"
    TITLE = "rtvc"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(self, studio: Studio, message: str = "") -> None:
        super().__init__(driver_class=Driver)
        self.studio = studio
        self.shelf = Shelf()
        self.memory, damaged = load_memory()
        chosen, unreadable = load_keys(KEY_IDS)
        self.chosen_keys, clash = keymap(chosen)
        self._message = " ".join(filter(None, (message, damaged, unreadable, clash)))
        self._message_until = time.monotonic() + 2 * _MESSAGE_S
        self._judge = Judge()
        self._looks = 0
        self._preset = ""
        self._preset_of: tuple[Settings, tuple[Entry, ...]] | None = None
        self._leaving = False
        self._code = 0
        self.farewell = ""

    # Its course.

    def on_mount(self) -> None:
        """Begin."""
        for theme in THEMES.values():
            self.register_theme(theme)
        self._wear(self.memory.theme)
        self.set_keymap(self.chosen_keys)
        self._scan_presets()
        if not self.memory.favourites:
            names = [entry.name for entry in self.shelf.entries]
            self.remember(replace(self.memory, favourites=dict(enumerate(names[:9], 1))))
        self.push_screen(MainScreen())
        if not self.memory.guided:
            self.push_screen(Guide())
        self.studio.start()
        self.set_interval(1 / _FPS, self._look)
        self.set_interval(_TIDY_S, self._tidy)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self._end, 128 + number))

    def _end(self, code: int) -> None:
        """Quit because the system asks for it."""
        self._code = code
        self.call_later(self.action_quit)

    async def action_quit(self) -> None:
        """Fade out, give the devices back, and leave."""
        if self._leaving:
            return
        self._leaving = True
        recording = self.studio.recording
        await asyncio.to_thread(self.studio.close)
        self.farewell = self.studio.take_news()
        if recording is not None and not self.farewell:
            self.farewell = f"The recording is in {recording}."
        self.exit(return_code=self._code)

    def tell(self, message: str) -> None:
        """Show a sentence for some seconds, in place of the one before."""
        self._message = message
        self._message_until = time.monotonic() + _MESSAGE_S

    def attempt(self, act: Callable[[], object]) -> bool:
        """Do something, and tell the sentence if it cannot be done; return whether it could."""
        try:
            act()
        except RtvcError as error:
            self.tell(str(error))
            return False
        except OSError as error:
            # Rarities, such as a current folder that has been deleted; they end nothing.
            self.tell(f"The system says: {error.strerror or error}.")
            return False
        return True

    def remember(self, memory: Memory) -> None:
        """Keep this for the next start."""
        self.memory = memory
        self.attempt(partial(save_memory, memory))

    def _look(self) -> None:
        if self._leaving or not self.is_running:
            return
        now = time.monotonic()
        stats, settings = self.studio.stats(), self.studio.settings
        if news := self.studio.take_news():
            self.tell(news)
        if self._message and now > self._message_until:
            self._message = ""
        self._looks += 1
        slow = self._looks % _SLOW_EVERY == 1
        if slow:
            self._scan_presets()
        view = View(
            now=now,
            stats=stats,
            settings=settings,
            badge=self._judge.look(stats, settings, now),
            devices=self.studio.names,
            preset=self._current_preset(settings),
            recorded_s=self.studio.recorded_s,
            message=self._message,
            slow=slow,
        )
        for screen in self.screen_stack:
            if isinstance(screen, Live) and screen.is_mounted and screen.is_running:
                screen.show(view)

    def _current_preset(self, settings: Settings) -> str:
        facts = settings, self.shelf.entries
        if (
            self._preset_of is None
            or self._preset_of[0] is not settings
            or (self._preset_of[1] is not self.shelf.entries)
        ):
            self._preset_of = facts
            self._preset = self.shelf.current(settings)
        return self._preset

    def _tidy(self) -> None:
        if not self._leaving:
            self.studio.tidy()

    def _scan_presets(self) -> None:
        self.attempt(self.shelf.scan)

    def _wear(self, theme: str) -> None:
        self.theme = THEMES[theme].name

    # What a person does.

    def turn(self, knob: Knob, value: Value) -> None:
        """Give a setting another value."""
        settings = self.studio.settings
        if getattr(settings, knob.name) != value:
            self.studio.apply(settings.replace(**{knob.name: value}))

    def type_value(self, knob: Knob) -> None:
        """Have a setting's value typed."""

        def use(text: str) -> None:
            self.turn(knob, knob.parse(text))

        value = shown(knob.name, getattr(self.studio.settings, knob.name))
        self.push_screen(Ask(f"{label(knob.name)}: {knob.help}\n{knob.allowed}", value, use))

    def take(self, kind: str, name: str) -> None:
        """Use a voice or a preset."""
        settings = self.studio.settings
        if kind == VOICE:
            self.studio.apply(settings.replace(voice=name))
            self.tell(f"Voice {name!r}.")
            return
        entry = self.shelf.find(name)
        if entry is None:
            self.tell(f"The preset {name!r} is not there any more.")
        elif entry.preset is None:
            self.tell(f"The preset {name!r} cannot be used: {entry.error}")
        else:
            self.studio.apply(entry.preset.apply_to(settings))
            self.tell(f"Preset {name!r}. {entry.description}")

    def toggle_favourite(self, name: str) -> None:
        """Give a preset the first free digit, or take its digit away."""
        favourites = dict(self.memory.favourites)
        digit = next((n for n, taken in favourites.items() if taken == name), 0)
        if digit:
            del favourites[digit]
            self.tell(f"{name!r} has no key any more.")
        else:
            digit = next((n for n in range(1, 10) if n not in favourites), 0)
            if not digit:
                self.tell("All nine keys are taken; take one away from another preset first.")
                return
            favourites[digit] = name
            self.tell(f"{name!r} has the key {digit}.")
        self.remember(replace(self.memory, favourites=favourites))

    def action_dry(self) -> None:
        """Switch between the converted and the dry voice; a muted one is converted again."""
        mode = self.studio.settings.mode
        self._mode("dry" if mode == "converted" else "converted")

    def action_mute(self) -> None:
        """Switch the sound off, or the converted voice on again."""
        self._mode("converted" if self.studio.settings.mode == "muted" else "muted")

    def _mode(self, mode: str) -> None:
        self.studio.apply(self.studio.settings.replace(mode=mode))

    def action_pitch(self, semitones: int) -> None:
        """Shift the pitch."""
        knob = KNOBS["pitch"]
        pitch = self.studio.settings.pitch + semitones
        self.turn(knob, min(max(pitch, knob.low), knob.high))
        self.tell(f"Pitch {self.studio.settings.pitch:+g} semitones.")

    def action_favourite(self, digit: int) -> None:
        """Use the preset of a digit."""
        name = self.memory.favourites.get(digit)
        if name is None:
            self.tell(f"No preset has the key {digit}; f gives it one on the presets screen (p).")
        else:
            self.take(PRESET, name)

    def action_record(self) -> None:
        """Begin or end a recording."""
        if self.studio.recorded_s is None:
            self.attempt(lambda: self.tell(f"Recording to {self.studio.record()}. r stops it."))
        else:
            self.attempt(lambda: self.tell(f"Recorded {self.studio.finish_recording()}."))

    def action_undo(self) -> None:
        """Take the last change back."""
        self._go_back(self.studio.undo, "Nothing to undo.")

    def action_redo(self) -> None:
        """Take the last undo back."""
        self._go_back(self.studio.redo, "Nothing to redo.")

    def _go_back(self, step: Callable[[], bool], otherwise: str) -> None:
        before = self.studio.settings
        self.tell(", ".join(differences(before, self.studio.settings)) if step() else otherwise)

    def action_save(self) -> None:
        """Ask for a name, and save the settings as a preset."""
        settings = self.studio.settings

        def use(name: str) -> None:
            self.shelf.save(name, settings)
            self.tell(f"Saved preset {name!r}.")

        self.push_screen(Ask("Save the settings of now as a preset named:", "", use))

    def action_search(self) -> None:
        """Have a voice or preset searched for."""
        if not self.screen.query(Finder):
            self._close_screens()
        self.screen.query_one(Finder).search()

    def action_presets(self) -> None:
        """Open the presets screen, or close it."""
        self._toggle_screen(PresetsScreen)

    def action_devices(self) -> None:
        """Open the devices screen, or close it."""
        self._toggle_screen(DevicesScreen)

    def action_guide(self) -> None:
        """Go through the first steps again."""
        self._toggle_screen(Guide)

    def _toggle_screen(self, kind: type[Screen[None]]) -> None:
        opened = isinstance(self.screen, kind)
        self._close_screens()
        if not opened:
            self.push_screen(kind())

    def _close_screens(self) -> None:
        while len(self.screen_stack) > _BASE:
            self.pop_screen()

    def action_close_screen(self) -> None:
        """Close the screen that is open."""
        if len(self.screen_stack) > _BASE:
            self.pop_screen()

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(Help(self.chosen_keys, str(keys_path())))

    def action_theme(self) -> None:
        """Wear the next theme."""
        theme = THEME_NAMES[(THEME_NAMES.index(self.memory.theme) + 1) % len(THEME_NAMES)]
        self._wear(theme)
        self.remember(replace(self.memory, theme=theme))
        self.tell(f"Theme: {theme}.")
