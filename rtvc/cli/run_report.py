"""The report of a run as JSON: settings, statistics, versions and hardware."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

from rtvc.live.health import health
from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.system.info import hardware, versions

if TYPE_CHECKING:
    from rtvc.config.measured_latency import MeasuredLatency


def run_report(
    settings: Settings,
    stats: Stats,
    elapsed_s: float,
    devices: dict[str, str],
    measured: MeasuredLatency | None = None,
    *,
    ended: bool = True,
) -> dict[str, Any]:
    """Return the report of a run; times are in seconds, settings in their own units.

    Parameters
    ----------
    settings, stats
        Settings and statistics of the run.
    elapsed_s
        Its duration until now.
    devices
        Names of its devices by direction.
    measured
        Their measured latency, None if it has not been measured.
    ended
        Whether the run has ended, and not only this part of it.
    """
    figures = dataclasses.asdict(stats)
    figures["latency"]["total"] = stats.latency.total
    return {
        "seconds": round(elapsed_s, 3),
        "ended": ended,
        "devices": devices,
        "settings": dataclasses.asdict(settings),
        "health": health(stats, measured).as_dict(),
        "stats": figures,
        **_machine(),
    }


@cache
def _machine() -> dict[str, Any]:
    """Return what does not change during a run."""
    return {"versions": versions(), "hardware": hardware()}


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
