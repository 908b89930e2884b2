"""Order, ratios and table of side_by_side.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rtvc._types import Float64

STAGES = ("content encoder", "pitch", "text encoder", "flow", "decoder", "rest")
ROWS = (*STAGES, "total", "processor time")
OWN = "rtvc"

Rounds = Sequence[dict[str, dict[str, float]]]
"""Seconds of each round, by program and then by row."""


def turns(names: Sequence[str], number: int) -> list[str]:
    """Return the order of the programs in a round.

    Each program is at each place equally often, and before and after each other one.
    """
    cycle, first = divmod(number, len(names))
    order = [*names[first:], *names[:first]]
    return order[::-1] if cycle % 2 else order


def seconds(rounds: Rounds, program: str, row: str) -> Float64:
    """Return the (rounds,) seconds of a row; NaN where a program does not have it."""
    return np.array([times[program].get(row, np.nan) for times in rounds])


def ratios(rounds: Rounds, rival: str, row: str) -> tuple[float, float, float]:
    """Return the lower quartile, median and upper quartile of rtvc's time by the rival's.

    The ratios are those within a round. NaN if one of them does not have the row.
    """
    within = seconds(rounds, OWN, row) / seconds(rounds, rival, row)
    low, middle, high = np.percentile(within, [25, 50, 75])
    return float(low), float(middle), float(high)


def table(report: dict[str, Any]) -> str:
    """Return the measurements as a Markdown table in ms."""
    sizes, rivals, rounds = report["settings"], report["rivals"], report["rounds"]
    lines = [
        f"{sizes['voice']}, block {sizes['block']:g} ms, context {sizes['context']:g} ms, "
        f"content {sizes['content']}, {sizes['threads']} threads, {len(rounds)} rounds, "
        f"load {report['load']:.2f} before; "
        + "; ".join(f"{name} ({_facts(facts)})" for name, facts in rivals.items()),
        "",
        f"| | {OWN}, median (min) | "
        + " | ".join(f"{name}, median (min) | {OWN} / {name} (quartiles)" for name in rivals)
        + " |",
        "|---|---|" + "---|---|" * len(rivals),
    ]
    for row in ROWS:
        cells = [row, _times(rounds, OWN, row)]
        for name in rivals:
            cells += [_times(rounds, name, row), _ratio(rounds, name, row)]
        lines.append(f"| {' | '.join(cells)} |")
    for name in rivals:
        around = seconds(rounds, name, "around")
        if not np.isnan(around).any():
            lines += ["", f"{name} around its step: {_times(rounds, name, 'around')} ms."]
    return "\n".join(lines)


def _facts(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _times(rounds: Rounds, program: str, row: str) -> str:
    ms = 1000 * seconds(rounds, program, row)
    return "-" if np.isnan(ms).any() else f"{np.median(ms):.1f} ({ms.min():.1f})"


def _ratio(rounds: Rounds, rival: str, row: str) -> str:
    low, middle, high = ratios(rounds, rival, row)
    return "-" if np.isnan(middle) else f"{middle:.2f} ({low:.2f} to {high:.2f})"
