"""What decides how long a step takes here, besides the voice."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from rtvc.calibration.profiles import Conditions

_SUPPLIES = Path("/sys/class/power_supply")
_PMSET = ("/usr/bin/pmset", "-g", "batt")


def conditions(*, busy: bool = False) -> Conditions:
    """Return the conditions of now."""
    from rtvc.cli.run_report import processor

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


def power_state() -> str:
    """Return ``"battery"``, ``"mains"``, or "" where the system does not tell."""
    if sys.platform == "darwin":
        try:
            asked = subprocess.run(_PMSET, capture_output=True, text=True, timeout=2, check=False)
        except (OSError, subprocess.SubprocessError):
            return ""
        return power_of_pmset(asked.stdout)
    return power_of_supplies(_SUPPLIES)


def power_of_pmset(text: str) -> str:
    """Return the power state from what ``pmset -g batt`` says."""
    if "'Battery Power'" in text:
        return "battery"
    return "mains" if "'AC Power'" in text else ""


def power_of_supplies(folder: Path) -> str:
    """Return the power state from Linux's folder of power supplies."""
    states = set()
    try:
        for supply in folder.iterdir():
            # The battery of a mouse says nothing of the machine.
            if _word(supply / "scope") == "Device":
                continue
            if _word(supply / "type") == "Battery":
                states.add(_word(supply / "status"))
            elif _word(supply / "online") == "1":
                states.add("Plugged in")
    except OSError:
        return ""
    if "Plugged in" in states:
        return "mains"
    if "Discharging" in states:
        return "battery"
    return "mains" if states & {"Charging", "Full", "Not charging"} else ""


def _word(file: Path) -> str:
    """Return what a file of one word holds, "" where it is not there or cannot be read."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
