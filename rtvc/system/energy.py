"""Energy used by the processor, on systems that report it."""

from __future__ import annotations

import sys
from pathlib import Path

from rtvc.errors import RtvcError

_POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Sum of the Linux RAPL counters of all processor packages.

    Parameters
    ----------
    root
        Folder of the counters.

    Raises
    ------
    RtvcError
        If the counters cannot be read.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        if sys.platform == "darwin":
            raise RtvcError("On macOS only root may read it (sudo powermetrics).")
        # intel-rapl:0 is a whole package, intel-rapl:0:1 a part of it.
        zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        self._counters = [zone / "energy_uj" for zone in zones]
        if not self._counters:
            raise RtvcError(f"This machine shows no RAPL counters in {root}.")
        try:
            self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
            self._last = self._read()
        except PermissionError:
            raise RtvcError(f"Only root may read {self._counters[0]}.") from None
        except (OSError, ValueError):
            raise RtvcError(f"{self._counters[0]} cannot be read.") from None
        self._joules = 0.0

    def joules(self) -> float:
        """Return the energy used since the meter was created, in J.

        The counters wrap after some minutes of full load, so read more often than that.
        """
        now = self._read()
        for before, after, size in zip(self._last, now, self._ranges, strict=True):
            self._joules += (after - before) % (size + 1) / 1e6
        self._last = now
        return self._joules

    def _read(self) -> list[int]:
        return [int(counter.read_text()) for counter in self._counters]
