"""Everything that the panel shows, taken once per frame for all widgets."""

from __future__ import annotations

from dataclasses import dataclass

from rtvc.config.measured_latency import MeasuredLatency
from rtvc.config.preset_manager import PresetEntry
from rtvc.config.preset_origin import PresetOrigin
from rtvc.live.badge import Badge
from rtvc.live.devices import AvailableDevices, DeviceNames, DeviceSelection
from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.tui.message_log import LogEntry


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the live run at one time.

    Attributes
    ----------
    now
        A monotonic time in seconds.
    stats, settings, badge
        Statistics, settings, and the badge derived from them.
    devices, wanted, available
        The devices in use, the selected ones, and all that can be selected.
    voices, entries, favourites
        The voices with their descriptions, the presets, and the favourites by digit.
    measured
        Measured latency of the devices, None if it has not been measured.
    spectrum
        Level of each band of the output in dBFS, () while nothing plays, None if hidden.
    origin
        The preset that the settings began with, None if there is none.
    recorded_s
        Length of the running recording in seconds, None if there is none.
    messages
        The messages to show, from top to bottom.
    slow
        Whether text and figures are to be updated too, and not only the meters.
    """

    now: float
    stats: Stats
    settings: Settings
    badge: Badge
    devices: DeviceNames
    wanted: DeviceSelection
    available: AvailableDevices
    voices: dict[str, str]
    entries: tuple[PresetEntry, ...]
    favourites: dict[int, str]
    measured: MeasuredLatency | None
    spectrum: tuple[float, ...] | None
    origin: PresetOrigin | None
    recorded_s: float | None
    messages: tuple[LogEntry, ...]
    slow: bool

    @property
    def preset(self) -> str:
        """Name of the preset that the settings began with, "" if there is none."""
        return self.origin.name if self.origin is not None else ""
