"""The health of a live run: latency, lateness, devices, restarts, and what to change.

The panel, the status line, ``--stats`` and ``rtvc doctor --live`` all show these values.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtvc.settings import RESERVE_MS
from rtvc.stats import Stats, Times

if TYPE_CHECKING:
    from rtvc.config.measured_latency import MeasuredLatency

_RESERVE_S = 1e-3 * RESERVE_MS
_MISREPORTED_S = 0.020
_DRIFT_PPM = 300.0
"""Crystals differ by less; more is a device with another rate than it reports."""
_DRIFT_SETTLES_S = 60.0
_HELD_UP = 4.0
"""Ratio of p99 to p50 of a step from which something else holds it up."""
_MANY_BLOCKS = 300
"""Blocks from which the figures say that there is headroom to spare."""


@dataclass(frozen=True, slots=True)
class Health:
    """The figures of a live run. Times are in seconds.

    Attributes
    ----------
    latency
        Stated latency from microphone to speaker: what the devices report and what the engine
        needs.
    measured_latency
        The same with the measured latency of the devices, None if it has not been measured.
    measured
        The measurement.
    estimated_latency
        The same as `latency` with the engine's part as estimated from the sound, None if that is
        not reliable.
    latency_faults
        Times that the engine's part was not the stated one.
    step, stages
        Duration of steps and of their parts: percentiles over the newest 600 blocks, maximum
        since the start.
    block, headroom
        Time from block to block, and the time that a step may take.
    blocks, late_blocks
        Blocks processed, and those that were not ready in time.
    early, early_min
        How long before its output was due a block was ready: median and minimum.
    input_behind
        The most input that waited behind a block.
    concealed, dropped
        Seconds of concealment, and of audio dropped to hold the latency.
    underruns, overflows
        Times that a device found no output, or no space for input.
    drift_ppm
        Rate of the output clock relative to the input clock in parts per million, None if both
        are one clock.
    latency_resets, excess_latency
        Times that audio piled up in a device and was thrown away, and what has piled up since.
    moves
        Times that the sound server moved the input or output to another device.
    cancelled_channel
        Number of the input channel that is used alone because the channels cancel each other,
        0 while they do not.
    restarts, causes, last_cause
        Restarts after failures, by kind of cause, and the newest cause.
    advice
        What is wrong and what to change, in whole sentences.
    """

    latency: float
    measured_latency: float | None
    measured: MeasuredLatency | None
    estimated_latency: float | None
    latency_faults: int
    step: Times
    stages: dict[str, Times]
    block: float
    headroom: float
    blocks: int
    late_blocks: int
    early: float
    early_min: float
    input_behind: float
    concealed: float
    dropped: float
    underruns: int
    overflows: int
    drift_ppm: float | None
    latency_resets: int
    excess_latency: float
    moves: int
    cancelled_channel: int
    restarts: int
    causes: dict[str, int]
    last_cause: str
    advice: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return dataclasses.asdict(self)


def health(stats: Stats, measured: MeasuredLatency | None = None) -> Health:
    """Return the health of a run.

    Parameters
    ----------
    stats
        Statistics of the run.
    measured
        The measured latency of its devices, None if it has not been measured.
    """
    latency, device = stats.latency, stats.device
    reported = latency.device_in + latency.device_out
    figures = Health(
        latency=latency.total,
        measured_latency=None if measured is None else latency.total - reported + measured.seconds,
        measured=measured,
        estimated_latency=(
            None if stats.estimated_latency is None else reported + stats.estimated_latency
        ),
        latency_faults=stats.latency_faults,
        step=stats.step,
        stages=stats.stages,
        block=latency.block,
        headroom=latency.headroom,
        blocks=stats.blocks,
        late_blocks=stats.late_blocks,
        early=device.output_fill_median,
        early_min=device.output_fill_min,
        input_behind=device.input_fill_max,
        concealed=stats.concealed_s,
        dropped=stats.dropped_s,
        underruns=device.underruns,
        overflows=device.overflows,
        drift_ppm=device.drift_ppm or None,
        latency_resets=device.latency_resets,
        excess_latency=device.excess_latency,
        moves=device.moves,
        cancelled_channel=device.cancelled_channel,
        restarts=stats.restarts,
        causes=stats.restart_causes,
        last_cause=stats.last_cause,
    )
    return dataclasses.replace(figures, advice=tuple(_advice(figures, stats, reported)))


def health_lines(figures: Health) -> list[str]:
    """Return the figures as text, without the advice."""
    step = figures.step
    lines = [
        f"latency     {_latency(figures)}",
        f"blocks      {figures.blocks} of {_ms(figures.block)}, {figures.late_blocks} late, "
        f"{figures.concealed:.2f} s concealed, {figures.dropped:.2f} s dropped",
        f"early       {_ms(figures.early)} median, {_ms(figures.early_min)} at least, "
        f"of {_ms(figures.headroom)} headroom",
        f"step        {_times(step)}",
        *(f"  {name:9} {_times(times)}" for name, times in figures.stages.items()),
        f"devices     {figures.underruns} underruns, {figures.overflows} overflows, "
        f"at most {_ms(figures.input_behind)} of input waiting",
    ]
    if figures.drift_ppm is not None:
        lines.append(f"clocks      two, {figures.drift_ppm:+.0f} ppm apart")
    if figures.latency_resets:
        lines.append(f"pile-ups    {figures.latency_resets}, thrown away")
    if figures.moves:
        lines.append(f"moved       {figures.moves} times to another device, by the sound server")
    if figures.cancelled_channel:
        lines.append(f"channels    cancel each other; {figures.cancelled_channel} alone is used")
    causes = ", ".join(f"{count} {kind}" for kind, count in figures.causes.items())
    lines.append(f"restarts    {figures.restarts}{f' ({causes})' if causes else ''}")
    return lines


def _latency(figures: Health) -> str:
    parts = [f"{_ms(figures.latency)} stated"]
    if figures.measured_latency is not None and figures.measured is not None:
        parts.append(f"{_ms(figures.measured_latency)} measured ({figures.measured.age})")
    if figures.estimated_latency is not None:
        parts.append(f"{_ms(figures.estimated_latency)} by the sound")
    return ", ".join(parts)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _times(times: Times) -> str:
    values = ", ".join(
        f"{name} {seconds * 1000:.1f}" for name, seconds in dataclasses.asdict(times).items()
    )
    return f"{values} ms"


def _advice(figures: Health, stats: Stats, reported: float) -> list[str]:
    """Return what is wrong and what to change, the worst first."""
    advice = [*_lateness_advice(figures, stats), *_device_advice(figures, stats)]
    if figures.restarts:
        advice.append(
            f"The engine started again {_times_in_words(figures.restarts)}. The newest cause: "
            f"{figures.last_cause}"
        )
    if figures.latency_faults:
        advice.append(
            f"The latency was not the stated one {_times_in_words(figures.latency_faults)}, and "
            "was corrected. Report it with the file of --stats."
        )
    measured = figures.measured if stats.blocks else None  # before, nothing is reported yet
    if measured is not None and abs(measured.seconds - reported) > _MISREPORTED_S:
        advice.append(
            f"The devices report a latency of {_ms(reported)}, but it is "
            f"{_ms(measured.seconds)} (measured {measured.age}). Delay a video by "
            f"{_ms(figures.measured_latency or 0.0)}."
        )
    return advice


def _lateness_advice(figures: Health, stats: Stats) -> list[str]:
    if not figures.blocks:
        return []
    advice = []
    step, block, headroom = figures.step, figures.block, figures.headroom
    slow = step.p99 > min(headroom - _RESERVE_S, 0.8 * block)
    wanted = _tens(step.p99 + _RESERVE_S)
    if slow and step.p99 > _HELD_UP * step.p50:
        advice.append(
            f"Steps take {_ms(step.p50)} as a rule (p50), but {_ms(step.p99)} at times (p99): "
            "another program uses the processor. Close it, or use a longer --block."
        )
    elif slow and step.p99 > block:
        advice.append(
            f"Steps take {_ms(step.p99)} (p99), longer than a block of {_ms(block)}. Use a longer "
            "--block, a shorter --context, or 'rtvc calibrate'."
        )
    elif slow:
        advice.append(
            f"Steps take {_ms(step.p99)} (p99) of a headroom of {_ms(headroom)}. "
            f"Use --headroom {wanted}, or 'rtvc calibrate'."
        )
    elif figures.late_blocks:
        advice.append(
            f"{figures.late_blocks} of {figures.blocks} blocks were late, although steps take "
            f"{_ms(figures.step.p99)} (p99): another program held up this one. Close it, or use "
            f"--headroom {_tens(headroom) + 20}."
        )
    elif figures.blocks >= _MANY_BLOCKS and not stats.idle:
        spare = figures.early_min - _RESERVE_S
        enough = _tens(headroom - spare)
        if spare > 0.02 and figures.headroom * 1000 - enough >= 10 and enough >= 20:
            advice.append(
                f"Every block was at least {_ms(figures.early_min)} early: --headroom {enough} is "
                "enough as long as the machine is as busy as now."
            )
    if stats.degraded:
        advice.append(f"rtvc reduced the work to keep up ({stats.degraded}). Close other programs.")
    return advice


def _device_advice(figures: Health, stats: Stats) -> list[str]:
    advice = []
    if figures.underruns and not figures.late_blocks:
        advice.append(
            f"A device found no output {_times_in_words(figures.underruns)}, although no block "
            "was late: the sound system itself was held up. Close other programs, or choose "
            "another device."
        )
    if channel := figures.cancelled_channel:
        advice.append(
            "The channels of the microphone cancel each other, as if one were inverted, so channel "
            f"{channel} alone is used. Choose it with --input-channel {channel}."
        )
    if figures.overflows:
        advice.append(
            f"Input was lost {_times_in_words(figures.overflows)} because nothing read it in time."
        )
    settled = figures.blocks * figures.block >= _DRIFT_SETTLES_S
    if settled and figures.drift_ppm is not None and abs(figures.drift_ppm) > _DRIFT_PPM:
        advice.append(
            f"The clocks of the devices differ by {figures.drift_ppm:+.0f} ppm. One of them runs "
            "at another sample rate than it reports: set both to 48000 Hz in the system."
        )
    if figures.excess_latency > _MISREPORTED_S:
        advice.append(
            f"{_ms(figures.excess_latency)} of audio has piled up in the device, so the latency is "
            "that much longer. Choose the device again."
        )
    if stats.repaired_blocks:
        advice.append(
            f"The input had invalid samples in {stats.repaired_blocks} blocks. Choose another "
            "microphone, or another sample rate for it."
        )
    return advice


def _tens(seconds: float) -> int:
    """Return milliseconds, rounded up to tens."""
    return math.ceil(round(seconds * 1000, 3) / 10) * 10


def _times_in_words(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
