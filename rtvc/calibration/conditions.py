"""What decides how long a step takes on a machine, besides the voice."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from dataclasses import dataclass

from rtvc.system.info import power_state, processor

_POWER = {"battery": "the battery", "mains": "the mains"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what a measurement was made.

    Attributes
    ----------
    processor, cores, mlx
        The processor's name, how many cores, and the version of MLX.
    power
        ``"battery"``, ``"mains"``, or "" where the system does not tell.
    busy
        Whether other threads computed meanwhile.
    date
        Day in ISO 8601.
    """

    processor: str
    cores: int
    mlx: str
    power: str
    busy: bool
    date: str

    def same_machine(self, other: Conditions) -> bool:
        """Return whether both are of one machine, as far as that is known."""
        return (self.processor, self.cores) == (other.processor, other.cores)

    def changes(self, now: Conditions) -> list[str]:
        """Return what has changed since in a way that makes steps faster or slower, in words."""
        found = []
        if not self.same_machine(now):
            found.append("the machine is another one")
        if self.mlx != now.mlx:
            found.append(f"MLX is {now.mlx or 'gone'} instead of {self.mlx or 'none'}")
        if self.power and now.power and self.power != now.power:
            found.append(f"the power comes from {_POWER[now.power]}")
        return found


def conditions(*, busy: bool = False) -> Conditions:
    """Return the conditions of now."""
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
    )
