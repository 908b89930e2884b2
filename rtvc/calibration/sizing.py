"""Automatic sizes: block, headroom and context from the measurement of this machine."""

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
from rtvc.calibration.work import work_to_fit
from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings


@dataclass(frozen=True, slots=True)
class Sizing:
    """Measured step times, the profile, and the sizes set by the user.

    A size at its default is automatic, unless it is in `chosen`.

    Attributes
    ----------
    timings
        Step times by voice kind; empty without a measurement.
    profile
        The profile in use.
    chosen
        Names of sizes that the user set to their default.
    learned
        Block and headroom in ms by name and kind of the voice, where ``Settings.latency`` ``auto``
        has settled in an earlier run; under the name "" for any voice of the kind.
    """

    timings: Mapping[str, Timing] = field(default_factory=dict)
    profile: Profile = PROFILES[DEFAULT_PROFILE]
    chosen: frozenset[str] = frozenset()
    learned: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def timing(self, kind: str) -> Timing | None:
        """Return the step times of a voice kind, or None if not measured."""
        return self.timings.get(kind)

    def changes(self, settings: Settings, kind: str) -> dict[str, Value]:
        """Return the automatic sizes that differ from `settings`, by name.

        Parameters
        ----------
        settings
            The requested settings.
        kind
            Voice kind, "" if not known.
        """
        free = sizes_at_default(settings) - self.chosen
        context = self.profile.context if "context" in free else settings.context
        sizes: dict[str, Value] = {"context": context}
        timing = self.timing(kind) if free else None
        if timing is not None:
            work = work_to_fit(settings)
            block = None if "block" in free else settings.block
            found = choose(timing, self.profile, block=block, context=context, work=work)
            found = found or closest_sizes(timing, work)
            sizes = {name: getattr(found, name) for name in SIZES}
        return {
            name: value
            for name, value in sizes.items()
            if name in free and value != getattr(settings, name)
        }


def sizes_at_default(settings: Settings) -> frozenset[str]:
    """Return the names of the sizes that are at their default."""
    return frozenset(name for name in SIZES if getattr(settings, name) == SETTINGS[name].default)
