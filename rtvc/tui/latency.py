"""The parts of the latency, and the engine's timing figures."""

from __future__ import annotations

import dataclasses

from rtvc.config.measured_latency import MeasuredLatency
from rtvc.live.device_latency import measured_total
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

    def show(self, latency: Latency, measured: MeasuredLatency | None) -> None:
        """Show the latency with the devices' reported and, if known, their measured part."""
        title = f"LATENCY {latency.total * 1000:.0f} ms "
        if measured is not None:
            real = measured_total(latency, measured) * 1000
            age = f"({measured.age}) " if "day" in measured.age else ""
            title = f"LATENCY reported {latency.total * 1000:.0f}, measured {real:.0f} ms {age}"
        self.put((title, "bold"), *_segments(latency, self.size.width - len(title) - 1))


class StepFigures(TextPane):
    """Step times, late blocks, and counters of the devices."""

    def show(self, stats: Stats) -> None:
        """Show the figures of `stats`."""
        step, device = stats.step, stats.device
        times = "/".join(f"{t * 1000:.0f}" for t in (step.p50, step.p95, step.p99))
        bad = "$error bold reverse"
        wide = self.size.width >= 110
        parts: list[StyledText] = [
            (f"STEP {'p50/p95/p99' if wide else 'p50/95/99'} {times}", ""),
            (f" of {stats.latency.block * 1000:.0f} ms", ""),
            ("  ", ""),
            (f"LATE {stats.late_blocks}", bad if stats.late_blocks else ""),
            ("  ", ""),
            (f"UNDERRUNS {device.underruns}", bad if device.underruns else ""),
            (f"  RING {device.output_fill * 1000:.0f} ms", ""),
            (f"  DRIFT {device.drift_ppm:+.0f}{' ppm' if wide else ''}", ""),
        ]
        if wide:
            parts.append((f"  CONCEALED {stats.concealed_s:.2f} s", ""))
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
