"""The actions of the panel, each with the message that it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rtvc.config.panel_state import THEMES, PanelState, save_panel_state
from rtvc.config.preset_manager import PresetEntry, PresetManager, describe_changes
from rtvc.live.controller import Controller
from rtvc.settings import SETTINGS, Setting, Settings, Value


class Actions:
    """Actions on the controller, the presets and the state of the panel.

    Every method returns a message for the user, "" for none, or raises `RtvcError`.

    Parameters
    ----------
    controller, preset_manager
        The live run and the presets.
    memory
        The state of the panel at the last run.
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
        """Name of the preset in use, "" if the settings match none."""
        facts = self._controller.settings, self._preset_manager.entries
        if self._facts is None or any(a is not b for a, b in zip(facts, self._facts, strict=True)):
            self._facts = facts
            self._preset = self._preset_manager.current(facts[0])
        return self._preset

    def change(self, setting: Setting, value: Value) -> str:
        """Change one setting."""
        settings = self._controller.settings
        if getattr(settings, setting.name) != value:
            self._controller.apply(settings.replace(**{setting.name: value}))
        return ""

    def shift_pitch(self, semitones: int) -> str:
        """Shift the pitch by semitones, within its range."""
        setting = SETTINGS["pitch"]
        pitch = self._controller.settings.pitch + semitones
        self.change(setting, min(max(pitch, setting.low), setting.high))
        return f"Pitch {self._controller.settings.pitch:+g} semitones."

    def select_voice(self, name: str) -> str:
        """Select a voice; the badge and the list show the progress."""
        return self.change(SETTINGS["voice"], name)

    def load_preset(self, name: str) -> str:
        """Load a preset."""
        entry = self._preset_manager.find(name)
        if entry is None:
            return f"The preset {name!r} no longer exists."
        if entry.preset is None:
            return f"The preset {name!r} cannot be loaded. {entry.error}"
        self._controller.apply(entry.preset.apply_to(self._controller.settings))
        lines = (note.removeprefix(f"{entry.file.path}:") for note in entry.preset.notes)
        notes = " ".join(f"Line {line}" for line in lines)
        return f"Loaded preset {name!r}. {notes or entry.description}"

    def load_favourite(self, digit: int) -> str:
        """Load the favourite preset of a digit."""
        name = self.memory.favourites.get(digit)
        if name is None:
            return f"Key {digit} has no preset. Press f on the presets screen (p) to assign one."
        return self.load_preset(name)

    def toggle_favourite(self, name: str) -> str:
        """Assign the first free digit to a preset, or remove its digit."""
        favourites = dict(self.memory.favourites)
        digit = next((n for n, taken in favourites.items() if taken == name), 0)
        if digit:
            del favourites[digit]
            message = f"{name!r} no longer has a key."
        else:
            digit = next((n for n in range(1, 10) if n not in favourites), 0)
            if not digit:
                return "All nine keys are assigned. Remove one from another preset first."
            favourites[digit] = name
            message = f"{name!r} now has key {digit}."
        return self.remember(replace(self.memory, favourites=favourites)) or message

    def toggle_dry(self) -> str:
        """Switch between converted and dry; from muted, switch to converted."""
        converted = self._controller.settings.mode == "converted"
        return self.change(SETTINGS["mode"], "dry" if converted else "converted")

    def toggle_mute(self) -> str:
        """Mute the output, or switch back to converted."""
        muted = self._controller.settings.mode == "muted"
        return self.change(SETTINGS["mode"], "converted" if muted else "muted")

    def toggle_recording(self) -> str:
        """Start or stop a recording."""
        recorder = self._controller.recorder
        if recorder.seconds is None:
            return f"Recording to {recorder.start()} until you press r."
        return recorder.stop()

    def save_minute(self) -> str:
        """Write the last minute to a folder, in the background."""
        flight = self._controller.flight
        if flight is None:
            return "The last minute is not kept: rtvc runs with --no-flight-recorder."
        return flight.save()

    def undo(self) -> str:
        """Undo the last change."""
        return self._step_history(self._controller.undo, "There is nothing to undo.")

    def redo(self) -> str:
        """Redo the last undone change."""
        return self._step_history(self._controller.redo, "There is nothing to redo.")

    def next_theme(self) -> str:
        """Switch to the next theme."""
        theme = THEMES[(THEMES.index(self.memory.theme) + 1) % len(THEMES)]
        return self.remember(replace(self.memory, theme=theme)) or f"Theme: {theme}."

    def toggle_spectrogram(self) -> str:
        """Show or hide the spectrogram."""
        wanted = not self.memory.spectrogram
        message = f"The spectrogram is {'shown where there is room' if wanted else 'hidden'}."
        return self.remember(replace(self.memory, spectrogram=wanted)) or message

    def remember(self, memory: PanelState) -> str:
        """Save the state of the panel."""
        self.memory = memory
        save_panel_state(memory)
        return ""

    def _step_history(self, step: Callable[[], bool], otherwise: str) -> str:
        before = self._controller.settings
        return (
            ", ".join(describe_changes(before, self._controller.settings)) if step() else otherwise
        )
