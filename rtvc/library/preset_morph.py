"""Positions between the settings in use and a preset of the built-in voice."""

from __future__ import annotations

from rtvc.config.presets import Preset, find_preset
from rtvc.errors import UsageError
from rtvc.setting import Value
from rtvc.settings import BUILT_IN, NO_MORPH, SETTINGS, Settings

_OFF_AT = {
    name: SETTINGS[name].default
    for name in ("pitch_fixed", "pitch_lowest", "auto_pitch_target", "level")
}
"""Values that mean off, which has no values between it and another one."""


class PresetMorph:
    """Finds the settings between those of the built-in voice and the preset of ``morph_to``.

    The preset is read once, until ``morph_to`` names another one: its file may change or vanish
    during a run, which must not keep the output from being muted.
    """

    def __init__(self) -> None:
        self._name = ""
        self._preset: Preset | None = None

    def resolve(self, settings: Settings) -> Settings:
        """Return the settings to convert with.

        Those of other voices are returned as they are: between RVC voices lie voices, not
        settings.

        Raises
        ------
        UsageError
            If there is no such preset, or it has another voice.
        """
        if settings.voice != BUILT_IN or not settings.morphs:
            return settings
        if self._preset is None or settings.morph_to != self._name:
            self._preset = _built_in_preset(settings.morph_to)
            self._name = settings.morph_to
        target = self._preset.apply_to(settings)
        values = {name: _between(name, settings, target) for name in SETTINGS}
        return settings.replace(**{**values, "morph_to": NO_MORPH, "morph": 0.0})


def resolve_morph(settings: Settings) -> Settings:
    """Return the settings to convert with; see `PresetMorph.resolve`."""
    return PresetMorph().resolve(settings)


def _built_in_preset(name: str) -> Preset:
    preset = find_preset(name)
    if preset.settings.voice != BUILT_IN:
        raise UsageError(
            f"The built-in voice cannot morph to {name!r}: that preset has the voice "
            f"{preset.settings.voice!r}. Choose a preset of the built-in voice."
        )
    return preset


def _between(name: str, first: Settings, second: Settings) -> Value:
    """Return the value of a setting at ``first.morph``, where it cannot lie between the nearer."""
    one: Value = getattr(first, name)
    other: Value = getattr(second, name)
    if first.morph == 1 or one == other:
        return other
    switched = SETTINGS[name].shape or _OFF_AT.get(name) in (one, other)
    if isinstance(one, float) and isinstance(other, float) and not switched:
        return one + (other - one) * first.morph
    return other if first.morph >= 0.5 else one
