"""The preset that the settings in use began with, and what was changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtvc.config.preset_manager import PresetEntry, describe_changes
from rtvc.config.presets import OwnSettings, Preset
from rtvc.settings import Settings


@dataclass(frozen=True, slots=True)
class PresetOrigin:
    """The preset that the settings in use began with.

    Attributes
    ----------
    entry
        The preset's file and content.
    preset
        The preset.
    settings
        The preset's settings; those that it does not set are as its voice remembers them, else at
        their default.
    edits
        What was changed since, one text per setting, such as "pitch -5 -> -7".
    """

    entry: PresetEntry
    preset: Preset
    settings: Settings
    edits: tuple[str, ...]

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.entry.name

    def summary(self, room: int, size: Callable[[str], int] = len) -> str:
        """Return the name and as many edits as fit.

        Parameters
        ----------
        room
            The largest size; only the name may be longer.
        size
            Returns the size of a text; by default its number of characters.

        Returns
        -------
        str
            Such as "deep", "deep, edited: pitch -5 -> -7, 2 more" or "deep, edited".
        """
        if not self.edits:
            return self.name
        for count in range(len(self.edits), 0, -1):
            more = len(self.edits) - count
            rest = (f"{more} more",) if more else ()
            text = f"{self.name}, edited: {', '.join((*self.edits[:count], *rest))}"
            if size(text) <= room:
                return text
        text = f"{self.name}, edited"
        return text if size(text) <= room else f"{self.name} *"


def origin_of(
    entry: PresetEntry | None, current: Settings, own: OwnSettings
) -> PresetOrigin | None:
    """Return a preset as the origin of settings, None if its file is missing or not valid.

    Parameters
    ----------
    entry, current
        The preset, and the settings in use.
    own
        Returns what a voice remembers.
    """
    if entry is None or entry.preset is None:
        return None
    start = entry.preset.apply_to(current, own)
    edits = describe_changes(start, current, brief=True)
    settings = entry.preset.apply_to(entry.preset.settings, own)
    return PresetOrigin(entry, entry.preset, settings, tuple(edits))
