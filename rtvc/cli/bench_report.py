"""The report of ``rtvc bench``: as text, as a table, and compared with an earlier one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rtvc
from rtvc.errors import UsageError
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions

Report = dict[str, Any]
"""The object that ``--json`` prints."""

SIZES = ("block", "context", "crossfade", "content", "pitch_method")
"""Settings that must be equal for times to be comparable."""

_SPREAD = ("min", "p50", "p95", "p99", "max")


def new_report(settings: Settings, blas: str, device: str, energy: str) -> Report:
    """Return a report that has no voice yet.

    Parameters
    ----------
    settings
        The settings of all steps.
    blas
        The BLAS that MLX uses on the CPU.
    device
        The device of MLX: ``"cpu"`` or ``"gpu"``.
    energy
        Why energy is not measured, "" if it is.
    """
    return {
        "report": "rtvc bench",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "commit": _commit(Path(rtvc.__file__).parents[1]),
        "hardware": hardware(),
        "device": device,
        "blas": blas,
        "load": round(os.getloadavg()[0], 2),
        "no_energy": energy,
        "settings": {name: getattr(settings, name) for name in SIZES},
        "complete": False,
        "voices": [],
    }


def read_report(path: Path, settings: Settings) -> Report:
    """Read an earlier report of ``--json``.

    Raises
    ------
    UsageError
        If the file is no such report, or was measured with other settings.
    """
    try:
        report = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or report.get("report") != "rtvc bench":
        raise UsageError(f"{path} is not a report of 'rtvc bench --json'.")
    try:
        sizes = report["settings"]
        other = [
            f"{name} {sizes[name]}" for name in SIZES if sizes[name] != getattr(settings, name)
        ]
        _require_figures(report)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        raise UsageError(
            f"{path} cannot be used: another version of rtvc has written it, or it was changed. "
            "Measure again with 'rtvc bench --json'."
        ) from None
    if other:
        raise UsageError(
            f"{path} was measured with {', '.join(other)}. Use the same settings to compare "
            "with it."
        )
    return report


def _require_figures(report: Report) -> None:
    """Read all of a report that a comparison reads; what is missing or no number raises."""
    machine = report["hardware"]
    _ = (
        machine["processor"],
        machine["cores"],
        ", ".join(voice["name"] for voice in report["voices"]),
    )
    for _ in comparison_lines(report, report, ""):
        pass


def head_lines(report: Report) -> Iterator[str]:
    """Describe the machine and the settings."""
    machine, found, sizes = report["hardware"], report["versions"], report["settings"]
    commit = f" ({report['commit']})" if report["commit"] else ""
    yield (
        f"rtvc {found['rtvc']}{commit}, Python {found['python']}, MLX {found['mlx']} on "
        f"{report['device']}"
    )
    yield (
        f"{machine['processor'] or machine['machine']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}; BLAS: {report['blas']}"
    )
    yield (
        f"block {sizes['block']:g} ms, context {sizes['context']:g} ms, crossfade "
        f"{sizes['crossfade']:g} ms, content {sizes['content']}, pitch {sizes['pitch_method']}; "
        f"{report['when']}, "
        f"load average {report['load']:g} before the run"
    )
    if report["load"] > 0.5:
        yield "Other programs were using the CPU, so the times are too long."
    if report["no_energy"]:
        yield f"Energy is not measured: {report['no_energy']}"


def voice_lines(voice: Report) -> Iterator[str]:
    """Describe one voice in a table, times in ms."""
    yield (
        f"{voice['name']:18}"
        + "".join(f"{name:>9}" for name in _SPREAD)
        + (f"{'GFLOP':>9}{'prims':>7}{'weights':>10}")
    )
    for name, stage in voice["stages"].items():
        yield _row(name, stage)
    yield _row(f"step ({voice['steps']})", voice)
    facts = [
        f"real-time factor {voice['real_time']:.2f}",
        f"peak memory {voice['mlx_peak_mb']:.0f} MB in MLX, "
        f"{voice['resident_peak_mb']:.0f} MB resident",
    ]
    if voice["joules"] is not None:
        facts.append(f"{voice['joules']:.2f} J per step")
    yield "  " + "; ".join(facts)


def ratios(report: Report, before: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Return before, now and ratio of every value that both reports have, by voice."""
    earlier = {voice["name"]: voice for voice in before["voices"]}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for voice in report["voices"]:
        if voice["name"] in earlier:
            old, new = _figures(earlier[voice["name"]]), _figures(voice)
            found[voice["name"]] = {
                name: {"before": old[name], "now": new[name], "ratio": new[name] / old[name]}
                for name in new
                if old.get(name)
            }
    return found


def comparison_lines(report: Report, before: Report, name: str) -> Iterator[str]:
    """Compare a report with an earlier one, read from the file `name`."""
    yield f"Compared with {name} of {before['when']}. A ratio below 1 is a decrease."
    if report["hardware"] != before["hardware"]:
        other = before["hardware"]
        yield f"It was measured on another machine: {other['processor']}, {other['cores']} cores."
    found = ratios(report, before)
    if not found:
        names = ", ".join(voice["name"] for voice in before["voices"]) or "none"
        yield f"It contains none of these voices. It contains: {names}."
    for voice, figures in found.items():
        yield ""
        yield f"{voice:28}{'before':>10}{'now':>10}{'ratio':>8}"
        for figure, of in figures.items():
            yield f"  {figure:26}{of['before']:10.1f}{of['now']:10.1f}{of['ratio']:8.2f}"


def _row(name: str, facts: Report) -> str:
    times = "".join(f"{facts['ms'][part]:9.1f}" for part in _SPREAD)
    if not facts["primitives"]:
        return f"  {name:16}{times}"
    weights = f"{facts['weight_mb']:7.1f} MB"
    return f"  {name:16}{times}{facts['gflop']:9.2f}{facts['primitives']:7}{weights}"


def _figures(voice: Report) -> dict[str, float]:
    """Return the values of a voice to compare, by title."""
    stages: dict[str, float] = {
        f"{name} p50, ms": stage["ms"]["p50"] for name, stage in voice["stages"].items()
    }
    return stages | {
        "step p50, ms": voice["ms"]["p50"],
        "step min, ms": voice["ms"]["min"],
        "step p99, ms": voice["ms"]["p99"],
        "GFLOP": voice["gflop"],
        "primitives": voice["primitives"],
        "weights read, MB": voice["weight_mb"],
        "peak memory in MLX, MB": voice["mlx_peak_mb"],
        "peak memory, MB": voice["resident_peak_mb"],
        **({"energy, J": voice["joules"]} if voice["joules"] else {}),
    }


def _commit(root: Path) -> str:
    """Return the commit of the checkout, "" if rtvc does not run from one."""
    if not (root / ".git").exists():
        return ""

    def git(*words: str) -> str:
        asked = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if commit and git("status", "--porcelain") else "")
    except OSError:
        return ""  # git is not installed
