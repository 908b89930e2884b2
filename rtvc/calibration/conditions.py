"""The conditions of a measurement, which affect step times."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from dataclasses import dataclass

from rtvc.system.info import low_power_mode, power_state, processor

_POWER = {"battery": "battery", "mains": "mains"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a measurement.

    Attributes
    ----------
    processor, cores, mlx
        Name of the processor, number of cores, version of MLX ("" if not installed).
    power
        ``"battery"``, ``"mains"``, or "" if not known.
    busy
        Whether other threads kept the CPU busy during the measurement.
    date
        Date in ISO 8601.
    low_power
        Whether macOS was in low-power mode.
    """

    processor: str
    cores: int
    mlx: str
    power: str
    busy: bool
    date: str
    low_power: bool = False

    def same_machine(self, other: Conditions) -> bool:
        """Return whether processor and number of cores are the same."""
        return (self.processor, self.cores) == (other.processor, other.cores)

    def changes(self, now: Conditions) -> list[str]:
        """Return a clause for each change until `now` that affects step times."""
        found = []
        if not self.same_machine(now):
            found.append("the machine has changed")
        if self.mlx != now.mlx:
            found.append(
                f"MLX has changed from {self.mlx or 'not installed'} "
                f"to {now.mlx or 'not installed'}"
            )
        if self.power and now.power and self.power != now.power:
            found.append(f"the power supply has changed to {_POWER[now.power]}")
        if self.low_power != now.low_power:
            found.append(f"low-power mode has been switched {'on' if now.low_power else 'off'}")
        return found


def conditions(*, busy: bool = False) -> Conditions:
    """Return the current conditions.

    Parameters
    ----------
    busy
        Value of `Conditions.busy`.
    """
    try:
        mlx = importlib.metadata.version("mlx")
    except importlib.metadata.PackageNotFoundError:
        mlx = ""
    return Conditions(
        processor=processor(),
        cores=os.cpu_count() or 1,
        mlx=mlx,
        power=power_state(),
        busy=busy,
        date=datetime.date.today().isoformat(),
        low_power=low_power_mode(),
    )
