"""What a person does to the sound, and the sentence that answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rtvc.config.panel_state import THEMES, PanelState, save_panel_state
from rtvc.config.preset_manager import PresetEntry, PresetManager, describe_changes
from rtvc.live.controller import Controller
from rtvc.settings import SETTINGS, Setting, Settings, Value


class Actions:
    """The studio and the shelf under a person's hands.

    Every method returns what is to be told, "" for nothing, or raises `RtvcError`.

    Parameters
    ----------
    controller, preset_manager
        The sound and the presets.
    memory
        What was remembered of the panel.
    """

    def __init__(
        self, controller: Controller, preset_manager: PresetManager, memory: PanelState
    ) -> None:
        self._controller = controller
        self._preset_manager = preset_manager
        self.memory = memory
        self._facts: tuple[Settings, tuple[PresetEntry, ...]] | None = None
        self._preset = ""

    @property
    def preset(self) -> str:
        """The preset that is in use, "" if it is none."""
        facts = self._controller.settings, self._preset_manager.entries
        if self._facts is None or any(a is not b for a, b in zip(facts, self._facts, strict=True)):
            self._facts = facts
            self._preset = self._preset_manager.current(facts[0])
        return self._preset

    def turn(self, setting: Setting, value: Value) -> str:
        """Give a setting another value."""
        settings = self._controller.settings
        if getattr(settings, setting.name) != value:
            self._controller.apply(settings.replace(**{setting.name: value}))
        return ""

    def shift_pitch(self, semitones: int) -> str:
        """Shift the pitch, within its range."""
        setting = SETTINGS["pitch"]
        pitch = self._controller.settings.pitch + semitones
        self.turn(setting, min(max(pitch, setting.low), setting.high))
        return f"Pitch {self._controller.settings.pitch:+g} semitones."

    def take_voice(self, name: str) -> str:
        """Use a voice; the badge and the list tell how it goes."""
        return self.turn(SETTINGS["voice"], name)

    def take_preset(self, name: str) -> str:
        """Use a preset."""
        entry = self._preset_manager.find(name)
        if entry is None:
            return f"The preset {name!r} is not there any more."
        if entry.preset is None:
            return f"The preset {name!r} cannot be used: {entry.error}"
        self._controller.apply(entry.preset.apply_to(self._controller.settings))
        return f"Preset {name!r}. {entry.description}"

    def take_favourite(self, digit: int) -> str:
        """Use the preset of a digit."""
        name = self.memory.favourites.get(digit)
        if name is None:
            return f"No preset has the key {digit}; f gives it one on the presets screen (p)."
        return self.take_preset(name)

    def toggle_favourite(self, name: str) -> str:
        """Give a preset the first free digit, or take its digit away."""
        favourites = dict(self.memory.favourites)
        digit = next((n for n, taken in favourites.items() if taken == name), 0)
        if digit:
            del favourites[digit]
            told = f"{name!r} has no key any more."
        else:
            digit = next((n for n in range(1, 10) if n not in favourites), 0)
            if not digit:
                return "All nine keys are taken; take one away from another preset first."
            favourites[digit] = name
            told = f"{name!r} has the key {digit}."
        return self.remember(replace(self.memory, favourites=favourites)) or told

    def toggle_dry(self) -> str:
        """Switch between the converted and the dry voice; a muted one is converted again."""
        converted = self._controller.settings.mode == "converted"
        return self.turn(SETTINGS["mode"], "dry" if converted else "converted")

    def toggle_mute(self) -> str:
        """Switch the sound off, or the converted voice on again."""
        muted = self._controller.settings.mode == "muted"
        return self.turn(SETTINGS["mode"], "converted" if muted else "muted")

    def toggle_recording(self) -> str:
        """Begin or end a recording."""
        recorder = self._controller.recorder
        if recorder.seconds is None:
            return f"Recording to {recorder.start()}. r stops it."
        return f"Recorded {recorder.stop()}."

    def undo(self) -> str:
        """Take the last change back."""
        return self._go_back(self._controller.undo, "Nothing to undo.")

    def redo(self) -> str:
        """Take the last undo back."""
        return self._go_back(self._controller.redo, "Nothing to redo.")

    def next_theme(self) -> str:
        """Choose the next theme."""
        theme = THEMES[(THEMES.index(self.memory.theme) + 1) % len(THEMES)]
        return self.remember(replace(self.memory, theme=theme)) or f"Theme: {theme}."

    def toggle_spectrogram(self) -> str:
        """Show the spectrogram, or hide it."""
        wanted = not self.memory.spectrogram
        told = f"The spectrogram is {'shown where there is room' if wanted else 'hidden'}."
        return self.remember(replace(self.memory, spectrogram=wanted)) or told

    def remember(self, memory: PanelState) -> str:
        """Keep this for the next start."""
        self.memory = memory
        save_panel_state(memory)
        return ""

    def _go_back(self, step: Callable[[], bool], otherwise: str) -> str:
        before = self._controller.settings
        return (
            ", ".join(describe_changes(before, self._controller.settings)) if step() else otherwise
        )
