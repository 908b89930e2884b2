"""Whether the sound is steady, in words, or the engine's figures."""

from __future__ import annotations

from collections import deque

from rtvc.live.health import Health
from rtvc.stats import Stats
from rtvc.tui.text_pane import StyledText, TextPane

_WINDOW_S = 60.0
_HINT = "   h figures"
_MINUTE = " in the last minute"


class HealthLine(TextPane):
    """One row about the last minute, or with the figures since the start."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._gaps: deque[tuple[float, int]] = deque()
        self.figures = False

    def show(self, stats: Stats, health: Health, now: float) -> None:
        """Show the health; `now` is a monotonic time in seconds."""
        gaps = self._recent_gaps(health.late_blocks + health.underruns, now)
        if self.figures:
            self.put(*_figures(stats, health, self.size.width))
        else:
            self.put(*_words(health, gaps, self.size.width))

    def _recent_gaps(self, count: int, now: float) -> int:
        if self._gaps and count < self._gaps[-1][1]:
            self._gaps.clear()  # a new session has started
        if not self._gaps or count != self._gaps[-1][1]:
            self._gaps.append((now, count))
        # The oldest entry holds the count at the start of the window.
        while len(self._gaps) > 1 and self._gaps[1][0] <= now - _WINDOW_S:
            self._gaps.popleft()
        return count - self._gaps[0][1]


def _words(health: Health, gaps: int, width: int) -> list[StyledText]:
    words = f"{gaps} {'gap' if gaps == 1 else 'gaps'}{_MINUTE}" if gaps else "steady"
    style = "bold $error" if gaps else "bold $success"
    parts: list[StyledText] = [(" HEALTH ", "bold"), (words, style)]
    share = health.step.p95 / health.block if health.block else 0.0
    if not health.blocks:
        parts[1:] = [("nothing runs yet", "")]
    key: StyledText = _HINT, "$text-muted"
    room = width - sum(len(text) for text, _ in (*parts, key))
    load = f", computing takes {share:.0%} of the time"
    if room < 0:
        parts[1] = words.removesuffix(_MINUTE), style
    elif health.blocks and len(load) <= room:
        parts.append((load, ""))
    return [*parts, key]


def _figures(stats: Stats, health: Health, width: int) -> list[StyledText]:
    """Return step times, late blocks, and counters of the devices, the most important first."""
    step = health.step
    times = "/".join(f"{t * 1000:.0f}" for t in (step.p50, step.p95, step.p99))
    bad = "$error bold reverse"
    wide = width >= 110
    parts: list[StyledText] = [
        (f" STEP {'p50/p95/p99' if wide else 'p50/95/99'} {times}", ""),
        (f" of {health.block * 1000:.0f} ms", ""),
        ("  ", ""),
        (f"LATE {health.late_blocks}", bad if health.late_blocks else ""),
        ("  ", ""),
        (f"UNDERRUNS {health.underruns}", bad if health.underruns else ""),
        (f"  RING {stats.device.output_fill * 1000:.0f} ms", ""),
        (f"  DRIFT {health.drift_ppm or 0.0:+.0f}{' ppm' if wide else ''}", ""),
    ]
    if wide:
        parts.append((f"  CONCEALED {health.concealed:.2f} s", ""))
    room = width
    fitting: list[StyledText] = []
    for part in parts:
        room -= len(part[0])
        if room < 0:
            break
        fitting.append(part)
    return fitting
