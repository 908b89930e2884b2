"""The preset that the settings in use began with, and what was changed since."""

from __future__ import annotations

from dataclasses import dataclass

from rtvc.config.preset_manager import PresetEntry, describe_changes
from rtvc.config.presets import Preset
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
    edits
        What was changed since, one text per setting, such as "pitch -5 -> -7".
    """

    entry: PresetEntry
    preset: Preset
    edits: tuple[str, ...]

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.entry.name

    @property
    def settings(self) -> Settings:
        """The preset's settings, with the default for each that it does not set."""
        return self.preset.settings

    def summary(self, room: int) -> str:
        """Return the name and as many edits as fit.

        Parameters
        ----------
        room
            The largest number of characters; only the name may be longer.

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
            if len(text) <= room:
                return text
        text = f"{self.name}, edited"
        return text if len(text) <= room else f"{self.name} *"


def origin_of(entry: PresetEntry | None, current: Settings) -> PresetOrigin | None:
    """Return a preset as the origin of settings, None if its file is missing or not valid."""
    if entry is None or entry.preset is None:
        return None
    edits = describe_changes(entry.preset.apply_to(current), current, brief=True)
    return PresetOrigin(entry, entry.preset, tuple(edits))
