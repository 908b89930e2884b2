"""One try of a fault: when it began and ended, what is measured around it, what is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults import judge
from benchmarks.faults.judge import Tape

BEFORE_S = 2.2
"""Seconds before a fault in which the latency before it is measured."""
NOMINAL_S = 2.0
"""Seconds after the end of a fault from which on the latency has to be nominal."""
WINDOW_S = 2.0
SETTLE_S = NOMINAL_S + WINDOW_S + 0.5
"""Seconds to wait after the end of a fault before the next one."""
STATED_S = 0.243
"""Latency that rtvc states in these runs."""
DRY = 0.9


@dataclass(frozen=True)
class Wanted:
    """The limits of a fault; None where there is none.

    Attributes
    ----------
    sound_s, silent_s, noticed_s, lost_s, latency_ms
        Most seconds until there is sound after the fault's end, until silence and until the
        state or its reason says so after its begin, of silence in all, and most change of the
        latency.
    late, restarts
        Most late blocks.
    """

    sound_s: float | None = 1.0
    silent_s: float | None = None
    noticed_s: float | None = None
    lost_s: float | None = None
    latency_ms: float | None = 5.0
    late: int | None = None
    exit_s: float | None = None
    exit_code: int | None = None
    dry: bool = True
    """Whether a likeness to the input counts: not where the microphone hears the output."""


@dataclass
class Try:
    """A fault from `began` to `gone` on the monotonic clock, and its figures by name."""

    began: float
    gone: float
    until: float
    log: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def measure(attempt: Try, source: Tape, output: Tape, most: float = 1.0) -> None:
    """Add what the recordings and the log say of a try."""
    began, gone, until = attempt.began, attempt.gone, attempt.until
    found = attempt.figures
    found["silent_s"] = judge.silent_after(output, began, gone + 0.5)
    found["sound_s"] = judge.sound_after(output, gone, until)
    before = judge.latency(source, output, began - BEFORE_S, WINDOW_S)
    after = judge.latency(source, output, gone + NOMINAL_S, WINDOW_S, most=most)
    lag = STATED_S if before is None else before.seconds
    found["lost_s"] = judge.lost_s(source, output, began, until, lag)
    found["before_ms"] = None if before is None else 1000 * before.seconds
    found["after_ms"] = None if after is None else 1000 * after.seconds
    found["likeness"] = judge.likeness(source, output, began - 0.5, until, most)
    found |= _told(attempt)


def _told(attempt: Try) -> dict[str, Any]:
    """Return what rtvc said in the time of a try, and the growth of its counts."""
    log = [line for line in attempt.log if line["t"] <= attempt.until]
    start = [line for line in log if line["t"] <= attempt.began][-1:]
    during = [line for line in log if line["t"] > attempt.began]
    if not start or not during:
        return {"noticed_s": None, "told": ""}
    first, last = start[0], during[-1]
    usual = first["state"], first["reason"]
    other = [line for line in during if (line["state"], line["reason"]) != usual]
    said = list(dict.fromkeys(f"{line['state']}: {line['reason']}".rstrip(": ") for line in other))
    found = {
        "noticed_s": other[0]["t"] - attempt.began if other else None,
        "told": " | ".join(said),
        "state_after": last["state"],
        "rss_mb": (last["rss"] - first["rss"]) / 1e6,
        "threads": last["threads"] - first["threads"],
        "stated_ms": 1000 * last.get("stated_s", 0.0),
        "degraded": last.get("degraded", ""),
    }
    for name in ("late", "failed", "underruns", "overflows", "concealed_s", "dropped_s"):
        # A program that has crashed starts to count again.
        found[name] = max(0, last.get(name, 0) - first.get(name, 0))
    found |= {
        name: last[name] - first[name]
        for name in last
        if "restart" in name and isinstance(last[name], int) and isinstance(first.get(name), int)
    }
    seconds = last["t"] - first["t"]
    found["cpu"] = (last["cpu_s"] - first["cpu_s"]) / seconds if seconds > 0 else 0.0
    return found


def judge_try(attempt: Try, wanted: Wanted) -> None:
    """Add what is not as wanted to the try's problems."""
    found, problems = attempt.figures, attempt.problems
    for name in ("sound_s", "silent_s", "noticed_s", "exit_s"):
        limit = getattr(wanted, name)
        if limit is None:
            continue
        if found.get(name) is None:
            problems.append(f"{name} never")
        elif found[name] > limit:
            problems.append(f"{name} {found[name]:.2f} > {limit:g}")
    if wanted.lost_s is not None and found["lost_s"] > wanted.lost_s:
        problems.append(f"lost_s {found['lost_s']:.2f} > {wanted.lost_s:g}")
    if wanted.late is not None and found.get("late", 0) > wanted.late:
        problems.append(f"late {found['late']} > {wanted.late}")
    if wanted.exit_code is not None and found.get("exit_code") != wanted.exit_code:
        problems.append(f"exit code {found.get('exit_code')}, not {wanted.exit_code}")
    if wanted.latency_ms is not None:
        before, after = found.get("before_ms"), found.get("after_ms")
        if before is None or after is None:
            problems.append("latency not measurable")
        elif abs(after - before) > wanted.latency_ms:
            problems.append(f"latency {before:.0f} -> {after:.0f} ms")
    if wanted.dry and found.get("likeness", 0.0) > DRY:
        problems.append(f"DRY: likeness {found['likeness']:.2f}")
