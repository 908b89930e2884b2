"""One look at everything that the panel shows, taken for all widgets at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rtvc.config.preset_manager import PresetEntry
from rtvc.live.devices import AvailableDevices, DeviceSelection
from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.tui.badge import Badge


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment.

    Attributes
    ----------
    now
        A monotonic time in seconds.
    stats, settings, badge
        The engine's, and their verdict.
    devices, wanted, available
        The devices in use, the chosen ones, and all that can be chosen.
    voices, entries, favourites
        The voices with a sentence about each, the presets, and the digits of some.
    measured_s
        Measured delay of the devices, None if nobody has measured it.
    spectrum
        Level of each band of what is heard in dBFS, () while nothing plays, None if it is hidden.
    preset
        The preset that is in use, "" if it is none.
    recorded_s
        Length of the recording that runs, None if there is none.
    message
        What is to be told now, "" if nothing is.
    slow
        Whether figures that a person reads, and not sees, are to be shown anew.
    """

    now: float
    stats: Stats
    settings: Settings
    badge: Badge
    devices: DeviceSelection
    wanted: DeviceSelection
    available: AvailableDevices
    voices: dict[str, str]
    entries: tuple[PresetEntry, ...]
    favourites: dict[int, str]
    measured_s: float | None
    spectrum: tuple[float, ...] | None
    preset: str
    recorded_s: float | None
    message: str
    slow: bool


@runtime_checkable
class LiveScreen(Protocol):
    """A screen that shows the present."""

    def show(self, view: Snapshot) -> None:
        """Show a moment; called 30 times a second."""


def in_words(devices: DeviceSelection) -> str:
    """Return the devices in one line."""
    also = f" + {devices.monitor}" if devices.monitor else ""
    return f"{devices.input} > {devices.output}{also}"
