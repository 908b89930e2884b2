"""What the engine tells about itself: immutable values, published once per block."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

SPECTRUM_HZ = 80.0, 12_000.0
"""Where the lowest band of a spectrum begins, and the highest ends; each is as wide in pitch."""


class State(StrEnum):
    """What is heard at the output right now.

    DRY is reached only by asking for it: an engine that is late, failing or
    gone is concealed or MUTED.
    """

    STARTING = "starting"
    CONVERTED = "converted"
    DRY = "dry"
    MUTED = "muted"
    DEVICE_LOST = "device lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Level:
    """Level of a signal over one block, in dBFS (-inf for digital silence)."""

    peak_db: float = float("-inf")
    rms_db: float = float("-inf")
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Distribution of a duration over the last blocks, in seconds."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the delay from microphone to speaker comes from, in seconds."""

    device_in: float = 0.0
    block: float = 0.0
    headroom: float = 0.0
    lookahead: float = 0.0
    crossfade: float = 0.0
    search: float = 0.0
    filters: float = 0.0
    device_out: float = 0.0

    @property
    def total(self) -> float:
        """The delay that is stated to the person."""
        return (
            self.device_in
            + self.block
            + self.headroom
            + self.lookahead
            + self.crossfade
            + self.search
            + self.filters
            + self.device_out
        )


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """What an endpoint knows of its device.

    Attributes
    ----------
    underflows, overflows
        Times the device found no output, or no room for input.
    input_fill, output_fill
        Seconds waiting in the two rings.
    drift_ppm
        How much faster the output's clock runs than the input's, parts per
        million; 0 where both are one clock.
    """

    underflows: int = 0
    overflows: int = 0
    input_fill: float = 0.0
    output_fill: float = 0.0
    drift_ppm: float = 0.0


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of the engine.

    Attributes
    ----------
    state, reason
        What is heard, and why if it is not what was asked for (one sentence).
    blocks, late_blocks
        Blocks made so far, and those whose sound was due before it was ready.
    concealed_s, dropped_s
        Seconds of output that were invented, and of sound thrown away, to keep
        the latency at its nominal value.
    repaired_blocks
        Blocks of input that held NaN or infinite samples, which were zeroed.
    failed_steps
        Steps that raised an error.
    degraded
        What the engine does with less, or later, than it was asked for because steps
        were late: such as "context 500 ms"; "" where nothing.
    voice
        Name of the voice that is heard, "" before the first one.
    loading
        Whether the engine is being built for a new voice or new sizes; what was
        before plays on meanwhile.
    gate_open, idle
        Whether the gate lets the input through, and whether the voice rests
        because the silence has lasted.
    input_f0_hz, output_f0_hz
        Pitch of the input and of the output at the end of the block; 0 is
        unvoiced.
    step, stages
        Time of whole steps, and of their parts by name, over the last blocks.
    """

    state: State = State.STARTING
    reason: str = ""
    blocks: int = 0
    late_blocks: int = 0
    concealed_s: float = 0.0
    dropped_s: float = 0.0
    repaired_blocks: int = 0
    failed_steps: int = 0
    degraded: str = ""
    voice: str = ""
    loading: bool = False
    gate_open: bool = False
    idle: bool = False
    input_f0_hz: float = 0.0
    output_f0_hz: float = 0.0
    input: Level = Level()
    output: Level = Level()
    step: Times = Times()
    stages: dict[str, Times] = field(default_factory=dict)
    latency: Latency = Latency()
    device: DeviceHealth = DeviceHealth()
