"""The actions of the panel, each with the message that it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rtvc.calibration.sizing import sizes_at_default
from rtvc.config.panel_state import (
    THEMES,
    PanelState,
    load_panel_state,
    panel_state_version,
    save_panel_state,
)
from rtvc.config.preset_manager import (
    PresetEntry,
    PresetManager,
    describe_changes,
    format_value,
    setting_label,
)
from rtvc.config.preset_origin import PresetOrigin, origin_of
from rtvc.config.presets import name_of, user_path
from rtvc.errors import RtvcError, UsageError
from rtvc.library.renaming import change_preset_name
from rtvc.library.voice_defaults import (
    defaults_version,
    find_defaults,
    follow_voice,
    remember_settings,
)
from rtvc.live.badge import Remedy
from rtvc.live.controller import Controller
from rtvc.live.held_keys import HeldKeys
from rtvc.live.mode_keys import ModeKeys
from rtvc.setting import Setting, Value
from rtvc.settings import SETTINGS, Settings, changed_names
from rtvc.system.file_version import FileVersion


class Actions:
    """Actions on the controller, the presets and the state of the panel.

    Every method returns a message for the user, "" for none, or raises `RtvcError`.

    Parameters
    ----------
    controller, preset_manager
        The live run and the presets.
    memory
        The state of the panel at the last run.
    mode_keys
        Decide what the keys for your own voice and for silence do.
    labels
        The labels of the panel's keys by action, for messages; None without the panel.
    held_keys
        Lets keys act once while they are held down; by default with the clock of the system.
    """

    def __init__(
        self,
        controller: Controller,
        preset_manager: PresetManager,
        memory: PanelState,
        mode_keys: ModeKeys,
        labels: Mapping[str, str] | None = None,
        *,
        held_keys: HeldKeys | None = None,
    ) -> None:
        self._controller = controller
        self._preset_manager = preset_manager
        self.memory = memory
        self.mode_keys = mode_keys
        self._labels = labels
        self._held_keys = held_keys or HeldKeys()
        self._memory_version = panel_state_version()
        self._facts: tuple[Settings, tuple[PresetEntry, ...], str] | None = None
        self._origin: PresetOrigin | None = None
        self._own: Settings | None = None
        self._own_version: FileVersion | None = None
        self._favourites: tuple[object, object] | None = None

    @property
    def origin(self) -> PresetOrigin | None:
        """The preset that the settings began with, else one that they match, None for none."""
        self._refresh()
        return self._origin

    @property
    def start(self) -> Settings | None:
        """The settings of the preset, else those that the voice remembers, None for neither."""
        self._refresh()
        return self._own if self._origin is None else self._origin.settings

    def keep_favourites_ready(self) -> None:
        """Let the voices of the favourite presets wait, as far as ``ready_memory`` allows."""
        facts = self.memory, self._preset_manager.entries
        if self._favourites is not None and all(
            a is b for a, b in zip(facts, self._favourites, strict=True)
        ):
            return
        self._favourites = facts
        digits = sorted(self.memory.favourites.items())
        entries = (self._preset_manager.find(name) for _, name in digits)
        voices = (one.preset.settings.voice for one in entries if one and one.preset)
        self._controller.keep_ready(tuple(dict.fromkeys(voices)))

    def _refresh(self) -> None:
        self.keep_favourites_ready()
        facts = self._controller.settings, self._preset_manager.entries, self._controller.preset
        if self._facts is None or any(a is not b for a, b in zip(facts, self._facts, strict=True)):
            self._facts = facts
            settings, _, name = facts
            find, own = self._preset_manager.find, self._preset_manager.own
            self._origin = origin_of(find(name), settings, own) or origin_of(
                find(self._preset_manager.current(settings)), settings, own
            )
            remembered = own(settings.voice)
            self._own = None if remembered == Settings(voice=settings.voice) else remembered

    def change(self, setting: Setting, value: Value) -> str:
        """Change one setting; the preset that the settings began with stays, except for a voice.

        A size is the user's choice from then on, also at its default.
        """
        if setting.name == "voice":
            return self.select_voice(str(value))
        return self._change(setting, value, self._controller.chosen | {setting.name})

    def reset(self, setting: Setting) -> str:
        """Reset a setting to the preset's or the voice's value, else to its default.

        A size at its default is automatic again, unless the preset sets it.
        """
        value: Value = getattr(self.start or Settings(), setting.name)
        given = self._origin.preset.given if self._origin else frozenset()
        chosen = self._controller.chosen - {setting.name}
        if getattr(self._controller.settings, setting.name) == value:
            value = setting.default
        elif setting.name in given:
            chosen |= {setting.name}
        if setting.name == "voice":
            return self.select_voice(str(value))
        return self._change(setting, value, chosen)

    def _change(self, setting: Setting, value: Value, chosen: frozenset[str]) -> str:
        settings = self._controller.settings
        after = settings.replace(**{setting.name: value})
        chosen &= sizes_at_default(after)
        if getattr(settings, setting.name) != value or chosen != self._controller.chosen:
            kept = self.origin.name if self.origin else None
            self._controller.apply(after, kept, chosen)
        return ""

    def apply_remedy(self, remedy: Remedy | None) -> str:
        """Change the settings as the state proposes."""
        if remedy is None:
            return "Nothing is proposed: see the state."
        chosen = self._controller.chosen.union(remedy.changes)
        settings = self._controller.settings.replace(**remedy.changes)
        self._controller.apply(settings, chosen=chosen)
        return f"Done: {remedy.label}."

    def shift_pitch(self, semitones: int) -> str:
        """Shift the pitch by semitones, within its range."""
        setting = SETTINGS["pitch"]
        pitch = self._controller.settings.pitch + semitones
        self.change(setting, min(max(pitch, setting.low), setting.high))
        return f"Pitch {self._controller.settings.pitch:+g} semitones."

    def select_voice(self, name: str) -> str:
        """Select a voice, with what it remembers; the badge and the list show the progress."""
        before = self._controller.settings
        if name == before.voice:
            return ""
        after = follow_voice(before, name)
        self._controller.apply(after)
        changes = describe_changes(before.replace(voice=name), after)
        damage = find_defaults(name)[1]
        return " ".join(filter(None, (f"{', '.join(changes)}." if changes else "", damage)))

    def remember_voice(self) -> str:
        """Let the voice in use remember its settings."""
        settings = self._controller.settings
        values = remember_settings(settings)
        self._facts = None  # what a preset leaves open has changed
        if not values:
            return f"{settings.voice!r} remembers nothing: its settings are at their defaults."
        shown = ", ".join(
            f"{setting_label(name)} {format_value(name, value, unit=True)}"
            for name, value in values.items()
        )
        return f"{settings.voice!r} remembers: {shown}."

    def load_preset(self, name: str) -> str:
        """Load a preset."""
        entry = self._preset_manager.find(name)
        if entry is None:
            return self._missing(name)
        if entry.preset is None:
            return f"The preset {name!r} cannot be loaded. {entry.error}"
        before = self._controller.settings
        settings = entry.preset.apply_to(before, self._preset_manager.own)
        kept = self._controller.chosen - changed_names(before, settings)
        self._controller.apply(settings, name, kept | entry.preset.given)
        lines = (note.removeprefix(f"{entry.file.path}:") for note in entry.preset.notes)
        notes = " ".join(f"Line {line}" for line in lines)
        return f"Loaded preset {name!r}. {notes or entry.description}"

    def proposed_preset(self) -> tuple[str, str]:
        """Return the name and description under which the settings would be saved.

        Those of the preset that they began with, if it is the user's: saving updates it.
        """
        origin = self.origin
        if origin is None:
            return "", ""
        if origin.entry.file.bundled:
            return self._preset_manager.unused_name(origin.name), ""
        return origin.name, origin.entry.description

    def updates(self, name: str) -> bool:
        """Return whether saving under a name updates the preset that the settings began with."""
        origin = self.origin
        if origin is None or origin.entry.file.bundled:
            return False
        try:
            return origin.name == name_of(user_path(name))  # as typed, such as "mine.yaml"
        except UsageError:
            return False

    def save_preset(self, name: str, description: str) -> str:
        """Save the settings as a new preset, or update the one that they began with."""
        name = name_of(user_path(name))
        settings, origin = self._controller.settings, self.origin
        if origin is not None and self.updates(name):
            settings = origin.preset.updated_from(settings)
            self._preset_manager.update(origin.entry, settings, description)
            undo = self._hint("Press u on the presets screen ({presets}) to undo it.")
            return f"Updated {name!r}.{undo}"
        name = self._preset_manager.save(name, settings, description)
        self._controller.apply(settings, name)
        return f"Saved preset {name!r}."

    def note_renamed(self, old: str, new: str) -> str:
        """Let the favourite digit, and settings with a preset's name, follow its new name.

        Returns a sentence about a file that cannot be written, "" if there is none.
        """
        self._controller.rename_preset(old, new)
        problems = change_preset_name(old, new)[1]
        self._preset_manager.scan()
        self.follow_favourites()
        favourites = self.memory.renamed(old, new).favourites
        if favourites != self.memory.favourites:
            try:
                self.remember(favourites=favourites)
            except RtvcError as error:
                problems.append(str(error))
        return " ".join(problems)

    def load_favourite(self, digit: int) -> str:
        """Load the favourite preset of a digit; if it has gone, free the digit."""
        self.follow_favourites()
        name = self.memory.favourites.get(digit)
        if name is None:
            assign = self._hint("Press f on a preset in the list to assign one.")
            return f"Key {digit} has no preset.{assign}"
        if self._preset_manager.find(name) is None:
            self._preset_manager.scan()  # another panel may have renamed it just now
        if self._has_gone(name):
            self.remember(favourites=self.memory.with_favourite(digit, "").favourites)
            return f"{self._missing(name)} Key {digit} is free now."
        return self.load_preset(name)

    @property
    def free_digit(self) -> int:
        """The first digit whose preset does not exist, 0 if there is none."""
        taken = self.memory.favourites
        return next((n for n in range(1, 10) if n not in taken or self._has_gone(taken[n])), 0)

    def assign_favourite(self, digit: int, name: str) -> str:
        """Assign a digit to a preset, in place of another one."""
        self.follow_favourites()
        if self._preset_manager.find(name) is None:
            return self._missing(name)
        before = self.memory.favourites.get(digit, name)
        replaced = before != name and not self._has_gone(before)
        also = f", in place of {before!r}" if replaced else ""
        favourites = self.memory.with_favourite(digit, name).favourites
        return self.remember(favourites=favourites) or f"{name!r} now has key {digit}{also}."

    def fill_favourites(self) -> str:
        """Give the first nine presets a digit, if none has one."""
        if self.memory.favourites:
            return ""
        names = [entry.name for entry in self._preset_manager.entries]
        return self.remember(favourites=dict(enumerate(names[:9], 1)))

    def toggle_favourite(self, name: str) -> str:
        """Remove the digit of a preset; if it has none, assign the first free one, if any."""
        self.follow_favourites()
        if digit := self.memory.digit_of(name):
            favourites = self.memory.with_favourite(digit, "").favourites
            return self.remember(favourites=favourites) or f"{name!r} no longer has a key."
        if not (free := self.free_digit):
            return "All nine keys are assigned."
        return self.assign_favourite(free, name)

    def toggle_dry(self) -> str:
        """Switch between converted and dry, as far as `ModeKeys` lets; never unmute."""
        mode, message = self.mode_keys.press_own_voice(self._controller.settings.mode)
        return self.change(SETTINGS["mode"], mode) or message

    def toggle_mute(self) -> str:
        """Mute the output, or switch back to converted."""
        mode, message = self.mode_keys.press_mute(self._controller.settings.mode)
        return self.change(SETTINGS["mode"], mode) or message

    def mute(self) -> str:
        """Mute the output; if it is muted, say how to unmute it."""
        mode, message = self.mode_keys.mute(self._controller.settings.mode)
        return self.change(SETTINGS["mode"], mode) or message

    def toggle_recording(self) -> str:
        """Start or stop a recording."""
        recorder = self._controller.recorder
        if recorder.seconds is None:
            return f"Recording to {recorder.start()} until you press {self._key('record', 'r')}."
        return recorder.stop()

    def press_record(self) -> str:
        """Start or stop a recording, once while the key is held down."""
        act = "record" if self._controller.recorder.seconds is None else "stop the recording"
        again = f"Press {self._key('record', 'r')} again to {act}."
        return self._held_keys.press("record", self.toggle_recording, again)

    def save_minute(self) -> str:
        """Write the last minute to a folder, in the background."""
        flight = self._controller.flight
        if flight is None:
            return "The last minute is not kept: rtvc runs with --no-flight-recorder."
        return flight.save()

    def press_save_minute(self) -> str:
        """Write the last minute to a folder, once while the key is held down."""
        again = f"Press {self._key('save_minute', 'w')} again to save the last minute again."
        return self._held_keys.press("save_minute", self.save_minute, again)

    def changes_since(self, before: Settings, chosen: frozenset[str]) -> list[str]:
        """Return what has changed since the settings and chosen sizes were these."""
        after, now = self._controller.settings, self._controller.chosen
        same = (chosen ^ now) - changed_names(before, after)
        return describe_changes(before, after) + [
            f"{setting_label(name)}: {format_value(name, getattr(after, name), unit=True)}, "
            + ("no longer automatic" if name in now else "automatic again")
            for name in sorted(same)
        ]

    def undo(self) -> str:
        """Undo the last change."""
        return self._step_history(self._controller.undo, "There is nothing to undo.")

    def redo(self) -> str:
        """Redo the last undone change."""
        return self._step_history(self._controller.redo, "There is nothing to redo.")

    def next_theme(self) -> str:
        """Switch to the next theme."""
        theme = THEMES[(THEMES.index(self.memory.theme) + 1) % len(THEMES)]
        return self.remember(theme=theme) or f"Theme: {theme}."

    def toggle_spectrogram(self) -> str:
        """Show or hide the spectrogram."""
        wanted = not self.memory.spectrogram
        message = f"The spectrogram is {'shown where there is room' if wanted else 'hidden'}."
        return self.remember(spectrogram=wanted) or message

    def remember(self, **changes: Any) -> str:
        """Change fields of the state of the panel, and save them.

        The other fields in the file stay: another panel may have changed them.
        """
        self.memory = replace(self.memory, **changes)
        saved, damaged = load_panel_state()
        there = panel_state_version() is not None and not damaged
        save_panel_state(replace(saved, **changes) if there else self.memory)
        self._memory_version = panel_state_version()
        return ""

    def follow_favourites(self) -> None:
        """Use the favourites that another panel has saved since the last call."""
        version = panel_state_version()
        if version in (None, self._memory_version):
            return
        self._memory_version = version
        saved, damaged = load_panel_state()
        if not damaged:
            self.memory = replace(self.memory, favourites=saved.favourites)

    def follow_voice_defaults(self) -> None:
        """Use what the voice remembers, which another program may have changed."""
        version = defaults_version(self._controller.settings.voice)
        if version != self._own_version:
            self._own_version, self._facts = version, None

    def _key(self, action: str, default: str) -> str:
        """Return the label of a key of the panel; without it, `default`."""
        return (self._labels or {}).get(action, default)

    def _has_gone(self, name: str) -> bool:
        """Return whether a preset does not exist, and not only cannot be read now."""
        return self._preset_manager.find(name) is None and not self._preset_manager.problem

    def _missing(self, name: str) -> str:
        """Return a sentence about a preset that is not found."""
        return self._preset_manager.problem or f"The preset {name!r} no longer exists."

    def _hint(self, text: str) -> str:
        """Return a sentence about keys of the panel, "" without it."""
        return f" {text.format_map(self._labels)}" if self._labels is not None else ""

    def _step_history(self, step: Callable[[], bool], otherwise: str) -> str:
        before, chosen = self._controller.settings, self._controller.chosen
        return ", ".join(self.changes_since(before, chosen)) if step() else otherwise
