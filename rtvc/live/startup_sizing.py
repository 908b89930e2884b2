"""The sizes that a live run starts with, and advice about them."""

from __future__ import annotations

from dataclasses import dataclass

from rtvc.calibration.conditions import conditions
from rtvc.calibration.profiles import PROFILES, Profile, choose, kind_name, too_slow
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import Timing, measured_here
from rtvc.calibration.work import work_to_fit
from rtvc.config.calibration_yaml import load_calibration
from rtvc.library.open_voice import voice_kind
from rtvc.settings import BUILT_IN, Settings


@dataclass(frozen=True, slots=True)
class SizingAdvice:
    """Messages about the sizes of a run, "" where there is nothing to say.

    Attributes
    ----------
    notes
        Sizes that come from the profile and the calibration.
    warnings
        What is wrong with them, and what to do.
    """

    notes: str = ""
    warnings: str = ""


def startup_sizing(
    settings: Settings, profile: str, chosen: frozenset[str]
) -> tuple[Sizing, SizingAdvice]:
    """Return what was measured on this machine, and advice about it.

    Parameters
    ----------
    settings
        Settings to start with.
    profile
        Name of the profile.
    chosen
        Names of the sizes that the user has chosen.
    """
    timings, damage = load_calibration()
    kind = voice_kind(settings.voice)
    measured = timings.get(kind)
    here: dict[str, Timing] = {}
    changes: list[str] = []
    if timings:
        now = conditions()
        here = measured_here(timings, now)
        changes = measured.conditions.changes(now) if measured else []
    sizing = Sizing(here, PROFILES[profile], chosen)
    warnings = damage
    if not damage and kind:
        warnings = _warnings(kind, measured, changes, sizing.profile, settings)
    return sizing, SizingAdvice(_notes(sizing, settings, kind), warnings)


def _notes(sizing: Sizing, settings: Settings, kind: str) -> str:
    changes = sizing.changes(settings, kind)
    if not changes:
        return ""
    measured = "" if sizing.timing(kind) is None else ", measured on this machine"
    sizes = ", ".join(f"{name} {value:.0f} ms" for name, value in changes.items())
    return f"Profile {sizing.profile.name}{measured}: {sizes}."


def _warnings(
    kind: str, measured: Timing | None, changes: list[str], profile: Profile, settings: Settings
) -> str:
    if measured is None:
        # The built-in voice keeps up at the default sizes on nearly every machine.
        return (
            ""
            if kind == BUILT_IN
            else f"The speed of this machine with {kind_name(kind)} is not known. "
            "Run 'rtvc calibrate' to measure it, which takes a minute."
        )
    if changes:
        return f"Since the last calibration, {' and '.join(changes)}. Run 'rtvc calibrate' again."
    work = work_to_fit(settings)
    if choose(measured, profile, work=work) is None:
        return too_slow(kind, measured, profile, work)
    return ""
