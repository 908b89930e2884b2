"""The parts of the latency, and the engine's timing figures."""

from __future__ import annotations

import dataclasses

from rtvc.live.health import Health
from rtvc.stats import Latency, Stats
from rtvc.tui.text_pane import StyledText, TextPane

_SHORT = {
    "device_in": "in",
    "lookahead": "look",
    "crossfade": "fade",
    "filters": "filter",
    "device_out": "out",
}


class LatencyBar(TextPane):
    """The latency from microphone to speaker, with its parts in proportion."""

    def show(self, latency: Latency, health: Health) -> None:
        """Show the latency with the devices' reported and, if known, their measured part."""
        title = f"LATENCY {latency.total * 1000:.0f} ms "
        if health.measured is not None and health.measured_latency is not None:
            real, known = health.measured_latency * 1000, health.measured.age
            age = f"({known}) " if "day" in known else ""
            title = f"LATENCY reported {latency.total * 1000:.0f}, measured {real:.0f} ms {age}"
        self.put((title, "bold"), *_segments(latency, self.size.width - len(title) - 1))


class StepFigures(TextPane):
    """Step times, late blocks, and counters of the devices."""

    def show(self, stats: Stats, health: Health) -> None:
        """Show the figures of `health`, and how much output waits now."""
        step = health.step
        times = "/".join(f"{t * 1000:.0f}" for t in (step.p50, step.p95, step.p99))
        bad = "$error bold reverse"
        wide = self.size.width >= 110
        parts: list[StyledText] = [
            (f"STEP {'p50/p95/p99' if wide else 'p50/95/99'} {times}", ""),
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
        self.put(*parts)


def _segments(latency: Latency, cells: int) -> list[StyledText]:
    parts: list[StyledText] = []
    done, drawn = 0.0, 0
    for field in dataclasses.fields(latency):
        seconds = getattr(latency, field.name)
        if seconds <= 0:
            continue
        done += seconds
        width = round(done / latency.total * cells) - drawn
        drawn += width
        if width < 1:
            continue
        label = f"{_SHORT.get(field.name, field.name)} {seconds * 1000:.0f}"
        text = label if len(label) < width else label.split(maxsplit=1)[0]
        text = f"{text:^{width - 1}}"[: width - 1] if len(text) < width else " " * (width - 1)
        # Alternate reverse and plain, so that the parts differ without colours too.
        parts += [(text, "reverse" if len(parts) % 4 == 0 else "$text on $panel"), ("│", "")]
    return parts
