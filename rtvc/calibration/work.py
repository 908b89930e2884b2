"""What a step computes with given settings, as far as its duration depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rtvc.setting import Value
from rtvc.settings import SETTINGS, Settings

PARTS: Mapping[str, Mapping[str, Value]] = {
    "noise light": {"noise": "light"},
    "noise strong": {"noise": "strong"},
    "speech gate": {"speech_gate": True},
    "equaliser": {"low_cut": 80.0, "eq_low": 3.0, "eq_mid": 3.0, "eq_high": 3.0},
    "de-esser": {"deess": 6.0},
    "compressor": {"comp_ratio": 3.0},
    "automatic level": {"level": -20.0},
    "reverb": {"reverb": 0.3},
}
"""Parts of the chain around the voice that are off by default, and settings that turn them on."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step computes.

    Attributes
    ----------
    method
        Pitch method; "" for RMVPE.
    index
        Whether retrieval is used.
    parts
        Names from `PARTS`.
    """

    method: str = ""
    index: bool = True
    parts: frozenset[str] = frozenset()


USUAL = Work()
"""The work that a measurement of a voice begins with."""


def work_of(settings: Settings) -> Work:
    """Return what a step computes with these settings."""
    parts = (name for name, changes in PARTS.items() if _in_use(changes, settings))
    return Work(settings.pitch_method, settings.index_rate > 0, frozenset(parts))


def work_to_fit(settings: Settings) -> Work:
    """Return the work for which sizes are chosen.

    Retrieval counts also while it is off: it may be turned on at any time.
    """
    return replace(work_of(settings), index=True)


def _in_use(changes: Mapping[str, Value], settings: Settings) -> bool:
    if "noise" in changes:
        return settings.noise == changes["noise"]
    return any(getattr(settings, name) != SETTINGS[name].default for name in changes)
