"""Hardware of this machine and versions of the installed software."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from rtvc._version import __version__

PACKAGES = (
    "mlx",
    "numpy",
    "sounddevice",
    "rtmixer",
    "soundfile",
    "soxr",
    "pyworld-prebuilt",
    "faiss-cpu",
    "textual",
    "PyYAML",
    "platformdirs",
)
"""The packages that rtvc depends on."""

_BLAS_PACKAGES = ("scipy-openblas32", "mkl")
"""Those with a BLAS for MLX on Linux; not installed everywhere."""

_SUPPLIES = Path("/sys/class/power_supply")
_PMSET = ("/usr/bin/pmset", "-g")


def versions() -> dict[str, str]:
    """Return the versions of rtvc, Python and `PACKAGES`; "" for a package not installed.

    Packages with a BLAS for MLX have a version only where they are installed.
    """
    found = {"rtvc": __version__, "python": platform.python_version()}
    found |= {name: _version(name) for name in PACKAGES}
    found |= {name: version for name in _BLAS_PACKAGES if (version := _version(name))}
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def hardware() -> dict[str, Any]:
    """Return system, machine, processor, number of cores and memory."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def processor() -> str:
    """Return the name of the processor, "" if not known."""
    if sys.platform == "darwin":
        import subprocess

        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def power_state() -> str:
    """Return the power supply: ``"battery"``, ``"mains"``, or "" if not known."""
    if sys.platform == "darwin":
        return power_of_pmset(_pmset("batt"))
    return power_of_supplies(_SUPPLIES)


def low_power_mode() -> bool:
    """Return whether macOS saves energy, with half the speed of the GPU; False elsewhere."""
    return sys.platform == "darwin" and low_power_of_pmset(_pmset())


def _pmset(*what: str) -> str:
    try:
        asked = subprocess.run(
            [*_PMSET, *what], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout


def low_power_of_pmset(text: str) -> bool:
    """Return whether low-power mode is on, from the output of ``pmset -g`` (macOS)."""
    words = (line.split() for line in text.splitlines())
    # The mode has the name "powermode" on Macs that have a high-power mode too.
    return any(
        pair[:1] in (["lowpowermode"], ["powermode"]) and pair[1:2] == ["1"] for pair in words
    )


def power_of_pmset(text: str) -> str:
    """Return the power supply from the output of ``pmset -g batt`` (macOS)."""
    if "'Battery Power'" in text:
        return "battery"
    return "mains" if "'AC Power'" in text else ""


def power_of_supplies(folder: Path) -> str:
    """Return the power supply from the folder of power supplies (Linux)."""
    states = set()
    try:
        for supply in folder.iterdir():
            # The battery of a mouse or keyboard does not power the machine.
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
    """Return the stripped text of a file, "" if it cannot be read."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
