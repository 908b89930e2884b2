"""The report of a run as JSON: settings, statistics, versions and hardware."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.system.info import hardware, versions


def run_report(
    settings: Settings, stats: Stats, elapsed_s: float, devices: dict[str, str]
) -> dict[str, Any]:
    """Return the report of a run; times are in seconds, settings in their own units."""
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
    """Return strict JSON; infinities and NaN, which JSON cannot express, become null."""
    return json.dumps(_finite(report), indent=2, ensure_ascii=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
