"""The settings of a voice belong to that voice: they do not shape another one meanwhile."""

from __future__ import annotations

from rtvc.settings import Settings, grouped_settings

_NAMES = tuple(
    setting.name for setting in grouped_settings()["voice"] if setting.stored and not setting.shape
)


class VoiceSettings:
    """Keeps the settings of the voice in use while another one loads, or cannot be loaded.

    A preset of an RVC voice often has no pitch shift. Applied to the built-in voice, which plays
    until the other one is ready, it would output your own voice.
    """

    def __init__(self) -> None:
        self._kept: Settings | None = None
        self._from: tuple[Settings, Settings] | None = None
        """Requested settings, and the ones to use for them."""

    def use(self, built_for: Settings, requested: Settings) -> Settings:
        """Return the settings for the next block of a chain that was built for `built_for`."""
        if requested.voice == built_for.voice:
            self._kept = requested
            return requested
        if self._kept is None or self._kept.voice != built_for.voice:
            # It has converted nothing yet.
            self._kept, self._from = built_for, None
        if self._from is None or self._from[0] is not requested:
            changes = {name: getattr(self._kept, name) for name in _NAMES}
            self._from = requested, requested.replace(**changes)
        return self._from[1]
