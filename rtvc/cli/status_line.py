"""The state of the engine as one line of text."""

from __future__ import annotations

from rtvc.cli.columns import columns_of, cropped
from rtvc.live.badge import NO_VOICE, RESTARTING, TOO_SLOW
from rtvc.live.health import health
from rtvc.stats import Level, State, Stats

_FLOOR_DB = -60.0
_LEAST_IMPORTANT_FIRST = (
    "keys",
    "pitch",
    "clocks",
    "degraded",
    "latency",
    "step",
    "restarts",
    "late",
    "out",
    "in",
)
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def status_line(stats: Stats, width: int, *, unicode: bool = True, muted: bool = False) -> str:
    """Return the line for a terminal of `width` columns, never longer than that.

    If there is no room, the least important items are left out first.

    Parameters
    ----------
    stats
        Statistics of the engine.
    width
        Columns available.
    unicode
        Whether the meters use block characters.
    muted
        Whether the settings ask for silence.
    """
    cells = 10
    parts = _parts(stats, muted=muted)
    levels = {"in": stats.input, "out": stats.output}
    for name, level in levels.items():
        parts[name] = f"{name} {_meter(level, cells, unicode=unicode)} {_level(level)}"
    line = _joined(parts)
    for name, level in levels.items():
        if len(line) > width:
            parts[name] = f"{name} {_level(level)}"
            line = _joined(parts)
    for name in _LEAST_IMPORTANT_FIRST:
        if len(line) > width and name in parts:
            del parts[name]
            line = _joined(parts)
    return line[:width]


def plain_line(stats: Stats, elapsed_s: float, *, muted: bool = False) -> str:
    """Return the line for a log: the same items, with the time since the start."""
    parts = _parts(stats, muted=muted)
    del parts["keys"]
    return f"{elapsed_s:6.1f} s  {_joined(parts)}"


def summary(stats: Stats, elapsed_s: float) -> str:
    """Return the summary that ends a run."""
    figures = health(stats)
    restarts = f"; {figures.restarts} restarts" if figures.restarts else ""
    return (
        f"{elapsed_s:.1f} s, {figures.blocks} blocks, {figures.late_blocks} late, "
        f"{figures.concealed:.2f} s concealed; step p50 {figures.step.p50 * 1000:.1f} ms, "
        f"p99 {figures.step.p99 * 1000:.1f} ms of {figures.block * 1000:.0f} ms; "
        f"latency {figures.latency * 1000:.0f} ms; device: {figures.underruns} underruns, "
        f"{figures.overflows} overflows{restarts}."
    )


def progress_line(title: str, share: float, elapsed_s: float, width: int) -> str:
    """Return a progress bar with the time left, never longer than `width` columns."""
    share = min(max(share, 0.0), 1.0)
    left = f"{elapsed_s / share - elapsed_s:4.0f} s left" if share > 0 else ""
    figures = f" {share:4.0%} {left:11}"
    cells = min(30, width - len(figures) - columns_of(title) - 3)
    if cells < 5:
        return cropped(f"{title}{figures}", width).rstrip()
    return f"{title} [{'#' * round(share * cells):{cells}}]{figures}".rstrip()


def transfer_line(title: str, done: int, total: int | None, rate: float, width: int) -> str:
    """Return the progress of a download, at most `width` columns; `rate` is in bytes/s."""
    figures = f" {done / 1e6:,.1f} MB"
    if total:
        left = f"{(total - done) / rate:4.0f} s left" if rate > 0 else ""
        figures = f" {done / 1e6:,.1f} of {total / 1e6:,.1f} MB {left:11}"
    figures += f" {rate / 1e6:5.1f} MB/s"
    cells = min(30, width - len(figures) - columns_of(title) - 3)
    if not total or cells < 5:
        return cropped(f"{title}{figures}", width).rstrip()
    return f"{title} [{'#' * round(min(done / total, 1) * cells):{cells}}]{figures}".rstrip()


def _word(stats: Stats, *, muted: bool) -> str:
    """Return the state, and for a silence that you did not ask for the panel's word for it."""
    if stats.state is not State.MUTED or muted:
        return stats.state.upper()
    if stats.restarting:
        return RESTARTING.word if stats.voice else NO_VOICE.word
    return TOO_SLOW.word


def _parts(stats: Stats, *, muted: bool) -> dict[str, str]:
    if not stats.gate_open:
        pitch = "silence"
    elif stats.input_f0_hz and stats.output_f0_hz:
        pitch = f"{stats.input_f0_hz:.0f} to {stats.output_f0_hz:.0f} Hz"
    elif stats.input_f0_hz:
        pitch = f"{stats.input_f0_hz:.0f} Hz"
    else:
        pitch = "unvoiced"
    figures = health(stats)
    parts = {
        "state": f"{_word(stats, muted=muted):9}",
        "fail_open": "FAIL-OPEN",
        "in": f"in {_level(stats.input)}",
        "out": f"out {_level(stats.output)}",
        "step": f"step p99 {figures.step.p99 * 1000:3.0f}/{figures.block * 1000:.0f} ms",
        "late": f"late {figures.late_blocks}",
        "latency": f"latency {figures.latency * 1000:.0f} ms",
        "clocks": f"clocks {figures.drift_ppm or 0.0:+.0f} ppm",
        "restarts": f"restarts {figures.restarts}",
        "pitch": f"pitch {pitch:13}",
        "degraded": f"reduced: {stats.degraded}",
        "keys": "q stops",
    }
    if not stats.degraded:
        del parts["degraded"]
    if figures.drift_ppm is None:
        del parts["clocks"]
    if not figures.restarts:
        del parts["restarts"]
    if not stats.fail_open:
        del parts["fail_open"]
    return parts


def _joined(parts: dict[str, str]) -> str:
    return "  ".join(parts.values()).rstrip()


def _level(level: Level) -> str:
    if level.clipped:
        return "  CLIP"
    return f"{max(level.peak_db, -99):3.0f} dB"


def _meter(level: Level, cells: int, *, unicode: bool) -> str:
    share = min(max(1 - level.peak_db / _FLOOR_DB, 0.0), 1.0)
    if not unicode:
        return f"[{'#' * round(share * cells):{cells}}]"
    eighths = round(share * cells * 8)
    full, rest = divmod(eighths, 8)
    return f"▕{('█' * full + _EIGHTHS[rest].strip()):{cells}}▏"
