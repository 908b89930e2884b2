"""Sizes that nobody chose, filled in with what was measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtvc.calibration.profiles import (
    DEFAULT_PROFILE,
    PROFILES,
    SIZES,
    Profile,
    Timing,
    best_effort,
    choose,
    kind_name,
    kind_of_rate,
    too_slow,
)
from rtvc.errors import RtvcError
from rtvc.settings import BUILT_IN, SETTINGS, Settings, Value


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

    def timing(self, settings: Settings) -> Timing | None:
        """Return how long the steps of a voice take, None where that was not measured."""
        return self.timings.get(kind_of(settings.voice)) if self.timings else None

    def changes(self, settings: Settings) -> dict[str, Value]:
        """Return the sizes to use in place of those in `settings`, by name."""
        free = sizes_at_default(settings) - self.chosen
        context = self.profile.context if "context" in free else settings.context
        sizes: dict[str, Value] = {"context": context}
        timing = self.timing(settings) if free else None
        if timing is not None:
            method = settings.pitch_method
            block = None if "block" in free else settings.block
            found = choose(timing, self.profile, block=block, context=context, method=method)
            found = found or best_effort(timing, method=method)
            sizes = {name: getattr(found, name) for name in SIZES}
        return {
            name: value
            for name, value in sizes.items()
            if name in free and value != getattr(settings, name)
        }


def sizes_at_default(settings: Settings) -> frozenset[str]:
    """Return the names of the sizes that stand at their default."""
    return frozenset(name for name in SIZES if getattr(settings, name) == SETTINGS[name].default)


@dataclass(frozen=True, slots=True)
class SizingAdvice:
    """What a person should know about the sizes of a run, "" where there is nothing.

    Attributes
    ----------
    facts
        What is used although nobody chose it.
    doubts
        What is wrong with it, and what to do.
    """

    facts: str = ""
    doubts: str = ""


def startup_sizing(
    settings: Settings, profile: str, chosen: frozenset[str]
) -> tuple[Sizing, SizingAdvice]:
    """Return what is known of this machine, and what a person should know about that.

    Parameters
    ----------
    settings
        To begin with.
    profile
        Name of the profile.
    chosen
        Names of the sizes that a person has stated.
    """
    from rtvc.config.calibration_yaml import load_calibration

    timings, damage = load_calibration()
    here: dict[str, Timing] = {}
    kind, changes = kind_of(settings.voice), list[str]()
    measured = timings.get(kind)
    if timings:
        from rtvc.calibration.conditions import conditions

        now = conditions()
        here = {k: timing for k, timing in timings.items() if timing.conditions.same_machine(now)}
        changes = measured.conditions.changes(now) if measured else []
    sizing = Sizing(here, PROFILES[profile], chosen)
    doubts = damage
    if not damage and kind:
        doubts = _doubts(kind, measured, changes, sizing.profile, settings)
    return sizing, SizingAdvice(_facts(sizing, settings), doubts)


def kind_of(voice: str) -> str:
    """Return the kind of a voice by its name, "" where only opening its file would tell."""
    from rtvc.library import installed_voice, is_path

    if voice == BUILT_IN:
        return BUILT_IN
    if is_path(voice):
        return ""
    try:
        return kind_of_rate(installed_voice(voice).manifest.sample_rate)
    except RtvcError:
        return ""


def _facts(sizing: Sizing, settings: Settings) -> str:
    changes = sizing.changes(settings)
    if not changes:
        return ""
    measured = "" if sizing.timing(settings) is None else ", measured on this machine"
    sizes = ", ".join(f"{name} {value:.0f} ms" for name, value in changes.items())
    return f"Profile {sizing.profile.name}{measured}: {sizes}."


def _doubts(
    kind: str, measured: Timing | None, changes: list[str], profile: Profile, settings: Settings
) -> str:
    if measured is None:
        # The built-in voice keeps up with its defaults nearly everywhere.
        return (
            ""
            if kind == BUILT_IN
            else f"How fast this machine is with {kind_name(kind)} is not known: "
            "'rtvc calibrate' measures it in a minute."
        )
    if changes:
        return f"Since 'rtvc calibrate' measured, {' and '.join(changes)}: run it again."
    if choose(measured, profile, method=settings.pitch_method) is None:
        return too_slow(kind, measured, profile, method=settings.pitch_method)
    return ""
