"""Sizes that nobody chose, filled in with what was measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtvc.calibration.profiles import (
    DEFAULT_PROFILE,
    PROFILES,
    SIZES,
    Profile,
    choose,
    closest_sizes,
)
from rtvc.calibration.timing import Timing
from rtvc.settings import SETTINGS, Settings, Value


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is known of this machine, and what a person has chosen in spite of it.

    A size that stands at its default is one that nobody chose, unless it is named.

    Attributes
    ----------
    timings
        How long steps take, by kind of voice; empty where nothing was measured.
    profile
        Where on the trade-off.
    chosen
        Names of the sizes that were chosen although they are at their default.
    """

    timings: Mapping[str, Timing] = field(default_factory=dict)
    profile: Profile = PROFILES[DEFAULT_PROFILE]
    chosen: frozenset[str] = frozenset()

    def timing(self, kind: str) -> Timing | None:
        """Return how long steps of a kind of voice take, None if that was not measured."""
        return self.timings.get(kind)

    def changes(self, settings: Settings, kind: str) -> dict[str, Value]:
        """Return the sizes to use in place of those in `settings`, by name.

        Parameters
        ----------
        settings
            The settings that were asked for.
        kind
            Kind of the voice, "" if it is not known.
        """
        free = sizes_at_default(settings) - self.chosen
        context = self.profile.context if "context" in free else settings.context
        sizes: dict[str, Value] = {"context": context}
        timing = self.timing(kind) if free else None
        if timing is not None:
            method = settings.pitch_method
            block = None if "block" in free else settings.block
            found = choose(timing, self.profile, block=block, context=context, method=method)
            found = found or closest_sizes(timing, method=method)
            sizes = {name: getattr(found, name) for name in SIZES}
        return {
            name: value
            for name, value in sizes.items()
            if name in free and value != getattr(settings, name)
        }


def sizes_at_default(settings: Settings) -> frozenset[str]:
    """Return the names of the sizes that stand at their default."""
    return frozenset(name for name in SIZES if getattr(settings, name) == SETTINGS[name].default)
