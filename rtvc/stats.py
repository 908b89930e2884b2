"""Statistics of the engine: immutable values, published once per block."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

SPECTRUM_HZ = 80.0, 12_000.0
"""Lower edge of the lowest band of a spectrum and upper edge of the highest, in Hz.

The bands are equally wide on a logarithmic frequency scale."""


class State(StrEnum):
    """State of the output.

    DRY occurs only if ``Settings.mode`` is ``dry``. After late blocks or failures the output is
    concealment or MUTED. UNCHANGED is the output of the built-in voice while its settings leave
    you recognisable as you are.
    """

    STARTING = "starting"
    CONVERTED = "converted"
    UNCHANGED = "unchanged"
    DRY = "dry"
    MUTED = "muted"
    DEVICE_LOST = "device lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Level:
    """Level of a signal over one block, in dBFS; -inf for digital silence."""

    peak_db: float = float("-inf")
    rms_db: float = float("-inf")
    clipped: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles of a duration over the newest blocks, and its maximum since the start, in s."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency from input to output by part, in seconds.

    Attributes
    ----------
    device_in, device_out
        Latency of the input and output device, as they report it.
    block
        Duration of a block.
    headroom
        Output queued when a block arrives: the time that a step may take.
    echo, noise, speech_gate
        Delay of the echo cancellation, of the noise suppression, and of the speech gate.
    lookahead
        Input after a frame that the models need before the frame is rendered.
    crossfade, search
        Overlap of consecutive renders, and the largest offset to align them.
    filters
        Delay of resamplers and limiter.
    """

    device_in: float = 0.0
    block: float = 0.0
    headroom: float = 0.0
    echo: float = 0.0
    noise: float = 0.0
    speech_gate: float = 0.0
    lookahead: float = 0.0
    crossfade: float = 0.0
    search: float = 0.0
    filters: float = 0.0
    device_out: float = 0.0

    @property
    def total(self) -> float:
        """Sum of all parts: the latency shown to the user."""
        return (
            self.device_in
            + self.block
            + self.headroom
            + self.echo
            + self.noise
            + self.speech_gate
            + self.lookahead
            + self.crossfade
            + self.search
            + self.filters
            + self.device_out
        )


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """Counters and fill levels of an endpoint's device.

    Attributes
    ----------
    underruns, overflows
        Times that the device found no output, or no space for input.
    input_fill, output_fill
        Audio in the input and output rings, in seconds.
    drift_ppm
        Rate of the output clock relative to the input clock, minus 1, in parts per million;
        0 if both are one clock.
    input_fill_median, input_fill_max
        Input that waits behind the block when the engine reads one, in seconds: the median over
        the newest 600 blocks and the maximum since the start.
    output_fill_median, output_fill_min
        Output that is still queued when the engine delivers a block, in seconds: the median over
        the newest 600 blocks and the minimum since the start. It is the time by which a block
        is early.
    latency_resets
        Times that audio piled up in the device, as after a pause of the program, and was
        thrown away.
    moves
        Times that the sound server moved an input or output to another device.
    cancelled_channel
        Number of the input channel that is used alone because the channels cancel each other,
        as if one were inverted; 0 while they do not.
    excess_latency
        Audio that has piled up in the device since, in seconds, as PortAudio's times tell.
    """

    underruns: int = 0
    overflows: int = 0
    input_fill: float = 0.0
    output_fill: float = 0.0
    drift_ppm: float = 0.0
    input_fill_median: float = 0.0
    input_fill_max: float = 0.0
    output_fill_median: float = 0.0
    output_fill_min: float = 0.0
    latency_resets: int = 0
    moves: int = 0
    excess_latency: float = 0.0
    cancelled_channel: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of the engine.

    Attributes
    ----------
    state, reason
        State of the output, and one sentence if it is not what the settings request, else "".
    blocks, late_blocks
        Blocks processed, and blocks that were not ready in time.
    concealed_s, dropped_s
        Seconds of concealment output, and of audio dropped to hold the latency at its nominal
        value.
    repaired_blocks
        Blocks in which the input, or an intermediate result of the built-in voice, was not
        finite and was replaced.
    failed_steps
        Steps that raised an error.
    restarting
        Whether a failure, not the settings, keeps the engine from converting: it is restarting,
        or waits for the next try, which the reason tells. The output is silent.
    restarts, restart_causes, last_cause
        Restarts after a failure: their number, the number by kind of cause ("failed step",
        "no response", "device lost" and others), and the newest cause as a sentence, "" if none.
    fail_open
        Whether the output is your own voice while no converted audio can be made. Off unless
        asked for in this run.
    feedback
        Whether the microphone picks up the output, which is reduced until that ends.
    degraded
        Settings reduced because steps were late, such as "context 500 ms"; "" if none.
    sizing, size_changes, size_reason
        With ``latency`` ``auto``: "settling" or "settled", the number of changes of block and
        headroom, and the newest one with its reason as a sentence; "" while there is none.
    voice
        Name of the voice in use, "" before the first one.
    loading
        Whether a chain for another voice or other sizes is being built. The current one runs
        until it is ready.
    ready_voices
        Voices that wait, so that a change to one is heard at once, with the bytes of their weights.
    in_use
        Values, by name, of the settings that the running chain was built for: voice, sizes, pitch
        estimator. They differ from the requested ones while others load or were refused, and
        where sizes are automatic or reduced. Empty before the first chain.
    features, speakers
        What the voice in use has, for `rtvc.setting.Setting.applies_to`, in alphabetical order,
        and its number of speakers.
    gate_open, idle
        Whether the gate is open, and whether rendering is skipped because the input has been
        silent longer than the context.
    input_f0_hz, output_f0_hz
        f0 of input and output at the end of the block in Hz, 0 = unvoiced.
    input, conditioned, output
        Levels over the block: of the input, of the input after high-pass and input gain, which is
        what gate and voice get, and of the output.
    limited_db
        Largest gain reduction of the limiter in the block, in dB, 0 or less.
    auto_pitch
        Transposition that ``auto_pitch`` uses in place of ``pitch``, in semitones; None while
        there is none.
    step, stages
        Duration of steps, and of their parts by name.
    latency
        Latency from input to output by part.
    estimated_latency
        Latency without the devices in seconds, estimated from the sound of the last half minute
        of speech; None if that is not reliable or not done.
    latency_faults
        Times that this differed from the stated latency by more than 20 ms.
    device
        Counters and fill levels of the device.
    """

    state: State = State.STARTING
    reason: str = ""
    blocks: int = 0
    late_blocks: int = 0
    concealed_s: float = 0.0
    dropped_s: float = 0.0
    repaired_blocks: int = 0
    failed_steps: int = 0
    restarting: bool = False
    restarts: int = 0
    restart_causes: dict[str, int] = field(default_factory=dict)
    last_cause: str = ""
    fail_open: bool = False
    feedback: bool = False
    degraded: str = ""
    sizing: str = ""
    size_changes: int = 0
    size_reason: str = ""
    voice: str = ""
    loading: bool = False
    ready_voices: dict[str, int] = field(default_factory=dict)
    in_use: dict[str, float | int | bool | str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    speakers: int = 1
    gate_open: bool = False
    idle: bool = False
    input_f0_hz: float = 0.0
    output_f0_hz: float = 0.0
    input: Level = Level()
    conditioned: Level = Level()
    output: Level = Level()
    limited_db: float = 0.0
    auto_pitch: float | None = None
    step: Times = Times()
    stages: dict[str, Times] = field(default_factory=dict)
    latency: Latency = Latency()
    estimated_latency: float | None = None
    latency_faults: int = 0
    device: DeviceHealth = DeviceHealth()
