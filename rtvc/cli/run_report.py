"""A run in figures: settings, statistics, versions and hardware, as JSON."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rtvc import __version__
from rtvc.settings import Settings
from rtvc.stats import Stats

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
"""The packages that rtvc runs on."""


def versions() -> dict[str, str]:
    """Return the versions of rtvc, Python and the packages, "" where one is not installed."""
    found = {"rtvc": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def hardware() -> dict[str, Any]:
    """Return what the machine is."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def run_report(
    settings: Settings, stats: Stats, elapsed_s: float, devices: dict[str, str]
) -> dict[str, Any]:
    """Return the facts of a run; times are in seconds, settings in their own units."""
    figures = dataclasses.asdict(stats)
    figures["latency"]["total"] = stats.latency.total
    return {
        "seconds": round(elapsed_s, 3),
        "devices": devices,
        "settings": dataclasses.asdict(settings),
        "stats": figures,
        "versions": versions(),
        "hardware": hardware(),
    }


def as_json(report: object) -> str:
    """Return strict JSON: infinities and NaN, which it does not know, become null."""
    return json.dumps(_finite(report), indent=2, ensure_ascii=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def processor() -> str:
    """Return the name of the processor, "" where the system does not tell."""
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
