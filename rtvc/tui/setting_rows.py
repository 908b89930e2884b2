"""Which settings are shown: in tabs, and only those that change something now."""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from dataclasses import dataclass

from rtvc.setting import Setting, Value
from rtvc.settings import Settings, grouped_settings
from rtvc.stats import Stats

TABS = ("voice", "microphone", "effects", "output", "timing")
_RESOLVED = ("morph_to", "morph")
"""Settings that stand for others: what the engine uses instead says nothing about them."""
_TAB_OF_GROUP = {"monitor": "output"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about the rows besides the settings themselves.

    Attributes
    ----------
    features
        What voice and run have, for `Setting.applies_to`; None while that is not known.
    in_use
        Values of settings that the engine uses now, by name, where they are known.
    speakers
        Number of speakers of the voice in use.
    voices, targets
        The names for the settings voice and morph_to.
    auto_pitch
        Transposition by auto_pitch in semitones, None while there is none.
    """

    features: Set[str] | None = None
    in_use: tuple[tuple[str, Value], ...] = ()
    speakers: int = 1
    voices: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    auto_pitch: float | None = None

    @classmethod
    def of(
        cls,
        stats: Stats,
        *,
        monitor: bool,
        voices: tuple[str, ...],
        targets: tuple[str, ...] = (),
    ) -> Facts:
        """Return the facts of a live run; `monitor` tells whether it has a monitor."""
        if not stats.features:
            return cls(voices=voices, targets=targets)
        run = {"devices", "monitor"} if monitor else {"devices"}
        # While others load, the rows show what is requested.
        known = () if stats.loading else stats.in_use.items()
        in_use = tuple((name, value) for name, value in known if name not in _RESOLVED)
        semitones = None if stats.auto_pitch is None else round(stats.auto_pitch, 1)
        features = frozenset(stats.features) | run
        return cls(features, in_use, stats.speakers, voices, targets, semitones)

    def names(self, setting: Setting) -> tuple[str, ...]:
        """Return the names that a setting can have, for the keys that change it."""
        return self.targets if setting.name == "morph_to" else self.voices

    def applies(self, setting: Setting) -> bool:
        """Return whether a setting changes anything now."""
        return self.features is None or setting.applies_to(self.features)

    def limited(self, setting: Setting) -> Setting:
        """Return the setting with the range that the voice in use has."""
        if setting.name == "speaker" and self.features is not None:
            return dataclasses.replace(setting, high=self.speakers - 1)
        return setting

    def used_value(self, setting: Setting, settings: Settings) -> Value:
        """Return the value in use: that of the engine, or else the requested one."""
        requested: Value = getattr(settings, setting.name)
        return dict(self.in_use).get(setting.name, requested)

    def is_automatic(self, setting: Setting, settings: Settings) -> bool:
        """Return whether the engine has chosen the value itself."""
        requested: Value = getattr(settings, setting.name)
        return requested == setting.default and self.used_value(setting, settings) != requested


def settings_by_tab() -> dict[str, tuple[Setting, ...]]:
    """Return all settings that are in the list, by tab; the mode has keys of its own."""
    tabs: dict[str, tuple[Setting, ...]] = dict.fromkeys(TABS, ())
    for group, settings in grouped_settings().items():
        tab = _TAB_OF_GROUP.get(group, group)
        tabs[tab] += tuple(setting for setting in settings if setting.stored)
    return tabs


TAB_OF = {setting.name: tab for tab, group in settings_by_tab().items() for setting in group}
"""The tab of each setting, by name."""
