"""The open streams of a microphone and a speaker, in mono at the engine's sample rate."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from rtvc._types import Float32
from rtvc.audio.device_backlog import BacklogKeeper, hold_latency
from rtvc.audio.devices import CORE_AUDIO, Device, Direction, accepts, open_error
from rtvc.audio.downmix import MIXED_CHANNELS, LiveDownmix
from rtvc.audio.drift import ClockTrim
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.errors import AudioError
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.open_stream import open_stream
from rtvc.audio.portaudio import audio_error, portaudio
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.stderr_capture import capture_stderr
from rtvc.audio.stream_times import FrameTimes, LatencyOfTwo
from rtvc.audio.stream_watchdog import StreamWatchdog
from rtvc.audio.streams import RING_S, DeviceStream, Port, StreamSpec
from rtvc.device_choice import MIX, ChannelChoice, check_channel
from rtvc.stats import DeviceHealth

BLOCK_S = 0.010
_ATTEMPTS = 10
"""Attempts to read two counts between callbacks."""
PRIMED_BLOCKS = 8
"""Callbacks after which a device counts as running; a stalled one asks for fewer, to prefill."""
LATE_START_S = 0.5
"""A device that takes longer to start was suspended."""
INTERRUPTION_S = 0.5
"""Pause of the program after which two streams are opened again; less is only late."""
STALE_S = 0.02
"""Time without output after which samples that are still in the resampler are not played."""
QUIET_PEAK = 1e-3
"""Peak below which the output is quiet: -60 dBFS."""
MAX_OUTPUT_CHANNELS = 8
"""Devices with more output channels are mixers or virtual; only two channels are opened."""


MAX_INPUT_CHANNELS = 31
"""Devices with more input channels are sound servers, which make up as many as you open."""
SERVER_CHANNELS = 8
"""Channels to open then: with fewer, a sound server mixes those of a 7.1 device together."""


class SilentDeviceError(AudioError):
    """A device that opens, but whose stream never starts to run."""


class Duplex:
    """The open streams of an input and an output; `open_duplex` returns one.

    The engine's thread calls `available` and `read`, one thread at a time `write`,
    the service thread `service` and `lost`.

    Attributes
    ----------
    received_input
        Whether the input has delivered anything other than digital silence.
    started_after
        Seconds that the streams needed to start.
    """

    def __init__(
        self,
        capture: DeviceStream,
        playback: DeviceStream,
        devices: tuple[Device, Device],
        input_channel: ChannelChoice = MIX,
    ) -> None:
        self._capture, self._playback = capture, playback
        self._device_latency = _device_latency(capture, playback, devices)
        self._streams = [capture] if capture is playback else [capture, playback]
        self._watchdogs = [
            StreamWatchdog(s, d.name) for s, d in zip(self._streams, devices, strict=False)
        ]
        self._input_resampler = (
            None
            if capture.spec.rate == ENGINE_RATE
            else EdgeResampler(capture.spec.rate, ENGINE_RATE)
        )
        stated = self._device_latency if devices[0].host_api == "ALSA" else (0.0, 0.0)
        self._keeper = (
            BacklogKeeper(capture, devices[0].name, sum(stated)) if capture is playback else None
        )
        # Two devices have two clocks, so the output needs a resampler even at equal rates.
        self._clocks = None if capture is playback else ClockTrim()
        self._times = [FrameTimes(stream.spec.rate) for stream in self._streams]
        self._latency_of_two = (
            None if capture is playback else LatencyOfTwo(self._times[0], self._times[1])
        )
        self._read_frames = 0
        self._output_resampler = (
            None
            if self._clocks is None and playback.spec.rate == ENGINE_RATE
            else EdgeResampler(ENGINE_RATE, playback.spec.rate)
        )
        channels = capture.spec.input.channels if capture.spec.input else 1
        self._downmix = LiveDownmix(channels, capture.spec.rate, input_channel)
        self._fifo = SampleFifo()
        self._dropped = 0
        self._quiet = True
        self._stale = 0
        self._started = time.monotonic()
        self.received_input = False
        self.started_after = 0.0

    def start(self, timeout: float, hold_s: float | None = None) -> None:
        """Start the streams and return when both run.

        Parameters
        ----------
        timeout
            Longest time to wait for the streams, in seconds.
        hold_s
            The `held_latency` of the streams before. Each start of a duplex stream leaves another
            latency, in steps of the device's period, so it starts again until that is as before,
            a few times at most. Of two streams, `excess_latency` tells the difference.

        Raises
        ------
        AudioError
            If a stream cannot be started.
        SilentDeviceError
            If a stream does not run within `timeout` seconds.
        """
        sounddevice = portaudio()
        for watchdog in self._watchdogs:
            with capture_stderr() as noise:
                try:
                    watchdog.stream.start()
                except sounddevice.PortAudioError as error:
                    failure = error
                else:
                    continue
            raise audio_error(failure, "start", repr(watchdog.name), detail=noise.text)
        began = time.monotonic()
        self._wait_until_running(began + timeout)
        self.started_after = time.monotonic() - began
        if self.started_after > LATE_START_S and self._keeper:
            # Input that was recorded before the output began would wait in the device for good.
            self._capture.restart()
            self._wait_until_running(time.monotonic() + timeout)
        if self._keeper and hold_s is not None:
            hold_latency(self._capture, hold_s)
            self._keeper.hold(hold_s)
            self._wait_until_running(time.monotonic() + timeout)
        if self._latency_of_two:
            self._latency_of_two.held_s = hold_s
        # What the first device has recorded while the second one started is too old.
        self._capture.read(self._capture.readable)
        self._read_frames = self._recorded_frames()
        self._started = time.monotonic()
        for watchdog in self._watchdogs:
            watchdog.reset()

    @property
    def held_latency(self) -> float | None:
        """The latency to hold, for the next `start` of the same devices; None if not known."""
        held = self._keeper or self._latency_of_two
        return None if held is None else held.held_s

    def _wait_until_running(self, deadline: float) -> None:
        for watchdog in self._watchdogs:
            stream = watchdog.stream
            needed = stream.counters().frames + PRIMED_BLOCKS * stream.spec.block
            while stream.counters().frames < needed:
                if time.monotonic() > deadline:
                    raise SilentDeviceError(
                        f"{watchdog.name!r} opens, but its stream does not run; it may be "
                        "suspended or in use. Close other programs that use it, or choose "
                        "another device."
                    )
                time.sleep(0.002)

    def abandon_restart(self) -> None:
        """Give up a restart that has not begun: the streams are to be closed."""
        if self._keeper:
            self._keeper.abandon()

    def finish(self) -> None:
        """Play what the devices have buffered, then release them."""
        for stream in self._streams:
            stream.stop()
        self.close()

    def close(self) -> None:
        """Release the devices; may hang if one was lost."""
        for stream in self._streams:
            stream.close()

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def service(self) -> None:
        """Keep the callbacks supplied and compensate clock drift."""
        for stream, times in zip(self._streams, self._times, strict=True):
            stream.service()
            if (timed := stream.take_timed_frame()) is not None:
                times.add(timed)
        if self._clocks is None or self._output_resampler is None:
            return
        captured, played = (
            s.counters().frames / s.spec.rate for s in (self._capture, self._playback)
        )
        if self._clocks.observe(time.monotonic(), captured, played):
            self._output_resampler.trim(self._clocks.trim)

    def lost(self, timeout: float) -> str:
        """Return a message if a device was lost, else ""; see `StreamWatchdog.lost`.

        Two streams that this program's own pause has interrupted count as lost; a duplex
        stream is only restarted.
        """
        keeper = self._keeper
        if keeper is None or not keeper.restarting:
            for watchdog in self._watchdogs:
                message = watchdog.lost(timeout)
                if message and not (keeper and keeper.restarting):  # it may just have begun
                    return message
        interrupted = max(watchdog.interrupted_s for watchdog in self._watchdogs)
        if keeper is None:
            paused = interrupted > INTERRUPTION_S
            return f"The program was paused for {interrupted:.1f} s." if paused else ""
        restarting = keeper.restarting
        message = keeper.service(time.monotonic(), quiet=self._quiet, interrupted_s=interrupted)
        if restarting and not keeper.restarting:
            for watchdog in self._watchdogs:
                watchdog.reset()
        return message

    def moved(self) -> None:
        """Note that the sound server has moved a stream: restore the latency at once."""
        if self._keeper:
            self._keeper.moved()

    def take_event(self) -> str:
        """Return a sentence about a correction of the latency since the last call, else ""."""
        return self._keeper.take_event() if self._keeper else ""

    def available(self) -> int:
        """Return the number of input samples that can be read."""
        if self._fifo.size < RING_S * ENGINE_RATE:
            frames = self._capture.read(self._capture.readable)
            if len(frames):
                self._read_frames += len(frames)
                mono = self._downmix.process(frames)
                self.received_input = self.received_input or bool(mono.any())
                self._fifo.push(
                    self._input_resampler.process(mono) if self._input_resampler else mono
                )
        return self._fifo.size

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples; they must be available."""
        return self._fifo.pop(samples)

    @property
    def queued(self) -> int:
        """Number of output samples that wait for the device."""
        return round(self._playback.queued * ENGINE_RATE / self._playback.spec.rate)

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Queue (n,) float32 for all output channels; drops and counts what does not fit.

        Parameters
        ----------
        samples
            The output.
        tail
            (n,) float32, what to play after it if there is nothing else by then.
        """
        resampler = self._output_resampler
        if resampler is None:
            mono = samples
        else:
            mono = resampler.process(samples)
            if self._stale:
                # The tail has replaced what was still in the filter.
                mono = np.concatenate([np.zeros_like(mono[: self._stale]), mono[self._stale :]])
                self._stale = 0
            tail = None if tail is None else resampler.continued(tail)
        output = self._playback.spec.output
        assert output
        self._quiet = not mono.size or float(np.abs(mono).max()) < QUIET_PEAK
        frames, tails = (
            None if part is None else np.repeat(part[:, np.newaxis], output.channels, axis=1)
            for part in (mono, tail)
        )
        assert frames is not None
        self._dropped += self._playback.write(frames, tails) < mono.size

    def take_missed(self) -> int:
        """Return the samples that were due since the last call while no output was queued."""
        missed = self._playback.take_missed()
        resampler = self._output_resampler
        if resampler and missed > STALE_S * self._playback.spec.rate:
            self._stale = round(resampler.delay_s * self._playback.spec.rate)
        return round(missed * ENGINE_RATE / self._playback.spec.rate)

    def excess_latency(self) -> int:
        """Return by how many samples two streams are later than after the first start.

        A shorter output queue makes up for it. A duplex stream is restarted instead.
        """
        if self._latency_of_two is None:
            return 0
        newest = self._capture.counters().frames - self._capture.readable
        if abs(newest - self._read_frames) > 2 * self._capture.spec.block:
            self._read_frames = self._recorded_frames()  # the ring was full
        played = self._playback.counters().frames
        return round(ENGINE_RATE * self._latency_of_two.excess(self._read_frames, played))

    def _recorded_frames(self) -> int:
        """Return the number of frames that were recorded and read, between two callbacks."""
        for _ in range(_ATTEMPTS):
            frames = self._capture.counters().frames
            time.sleep(0.001)
            readable = self._capture.readable
            if self._capture.counters().frames == frames:
                break
        return frames - readable

    @property
    def latency(self) -> tuple[float, float]:
        """Latency of input and output in seconds, resamplers included."""
        input_s, output_s = self._device_latency
        if self._input_resampler:
            # The samples in the resampler come out with the device's next block.
            period = self._capture.spec.block / self._capture.spec.rate
            input_s += math.ceil(self._input_resampler.delay_s / period - 0.05) * period
        return input_s, output_s + (
            self._output_resampler.delay_s if self._output_resampler else 0.0
        )

    @property
    def streams(self) -> str:
        """Sample rates and block of the streams, such as "48000 Hz, 10 ms"."""
        specs = [stream.spec for stream in self._streams]
        rates = "/".join(str(rate) for rate in dict.fromkeys(spec.rate for spec in specs))
        blocks = dict.fromkeys(f"{1000 * spec.block / spec.rate:.0f}" for spec in specs)
        return f"{rates} Hz, {'/'.join(blocks)} ms{', two clocks' if self._clocks else ''}"

    def health(self) -> DeviceHealth:
        """Return the underrun and overflow counts and the ring buffers' fill."""
        counters = [stream.counters() for stream in self._streams]
        waiting = self._capture.readable / self._capture.spec.rate
        return DeviceHealth(
            underruns=sum(c.underruns for c in counters),
            overflows=sum(c.overflows for c in counters) + self._dropped,
            input_fill=waiting + self._fifo.size / ENGINE_RATE,
            output_fill=self._playback.queued / self._playback.spec.rate,
            drift_ppm=self._clocks.drift_ppm if self._clocks else 0.0,
            latency_resets=self._keeper.restarts if self._keeper else 0,
            excess_latency=self._keeper.excess_s if self._keeper else 0.0,
            cancelled_channel=self._downmix.cancelled,
        )


def open_duplex(
    microphone: Device,
    speaker: Device,
    *,
    rate: int | None = None,
    input_channel: ChannelChoice = MIX,
    output_channels: int | None = None,
    in_python: bool = False,
) -> Duplex:
    """Open a microphone and a speaker, as one duplex stream if they are the same device.

    Parameters
    ----------
    microphone, speaker
        The devices.
    rate
        Sample rate of both in Hz; see `LiveEndpoint`.
    input_channel
        The channel of the microphone; see `LiveEndpoint`.
    output_channels
        Number of output channels to open; by default all of a device with up to
        `MAX_OUTPUT_CHANNELS`, else 2.
    in_python
        Use the callback in Python.

    Raises
    ------
    AudioError
        If a device cannot be opened.
    UsageError
        If the microphone has no such channel.
    """
    check_channel(input_channel, microphone.inputs, repr(microphone.name))
    input_port = Port(microphone.index, _input_channels(microphone, input_channel))
    output_port = Port(speaker.index, output_channels or _channels(speaker))
    wanted = [rate] if rate else [ENGINE_RATE, round(microphone.rate), round(speaker.rate)]
    out_rates = in_rates = list(dict.fromkeys(wanted))
    if microphone.host_api == CORE_AUDIO and not rate and microphone.rate:
        # Any other rate is converted by PortAudio, whose buffers are then longer; and it states a
        # latency that is too long by a buffer that it does not fill, 40 ms and more.
        in_rates = [round(microphone.rate)]

    @cache
    def records(rate: int, channels: int) -> bool:
        return accepts(microphone, "input", rate, channels)

    @cache
    def plays(rate: int) -> bool:
        return accepts(speaker, "output", rate, output_port.channels)

    # Some devices open only with all their channels.
    fewest, every = input_port.channels, microphone.inputs
    tried = (n for n in (fewest, every) if any(records(r, n) for r in in_rates))
    channels = next(tried, fewest)
    input_port = Port(microphone.index, channels)
    if microphone.index == speaker.index:
        common = next((r for r in in_rates if records(r, channels) and plays(r)), None)
        if common is not None:
            spec = _spec(common, speaker, input=input_port, output=output_port)
            stream = _open(spec, microphone, "input", in_python)
            return Duplex(stream, stream, (microphone, speaker), input_channel)
    # If it accepts no rate, open it anyway: that gives the error.
    in_rate = next((r for r in in_rates if records(r, channels)), in_rates[0])
    out_rate = next(filter(plays, out_rates), out_rates[0])
    capture = _open(
        _spec(in_rate, microphone, input=input_port),
        microphone,
        "input",
        in_python,
    )
    try:
        spec = _spec(out_rate, speaker, output=output_port)
        playback = _open(spec, speaker, "output", in_python)
    except BaseException:
        capture.close()
        raise
    return Duplex(capture, playback, (microphone, speaker), input_channel)


def open_playback(speaker: Device) -> DeviceStream:
    """Open an output stream, at the engine's sample rate if the device accepts it.

    Raises
    ------
    AudioError
        If the device cannot be opened.
    """
    output_port = Port(speaker.index, _channels(speaker))
    rates = list(dict.fromkeys([ENGINE_RATE, round(speaker.rate)]))
    with _outside_the_cable():
        # If it accepts no rate, open it anyway: that gives the error.
        rate = next(
            (r for r in rates if accepts(speaker, "output", r, output_port.channels)), rates[0]
        )
        return _open(_spec(rate, speaker, output=output_port), speaker, "output", False)


def _spec(
    rate: int, device: Device, *, input: Port | None = None, output: Port | None = None
) -> StreamSpec:
    block = round(rate * BLOCK_S)
    return StreamSpec(rate, block, input, output, fixed_rate=device.host_api == "ALSA")


@contextmanager
def _outside_the_cable() -> Iterator[None]:
    """Open on the default sink: only the main output plays into a virtual cable."""
    cable = os.environ.pop("PULSE_SINK", None)
    try:
        yield
    finally:
        if cable is not None:
            os.environ["PULSE_SINK"] = cable


def _input_channels(microphone: Device, channel: ChannelChoice) -> int:
    """Return the number of channels to open, so that the chosen one is among them."""
    if channel == MIX:
        return min(microphone.inputs, MIXED_CHANNELS)
    if microphone.inputs <= MAX_INPUT_CHANNELS:
        return microphone.inputs
    return max(SERVER_CHANNELS, channel) if isinstance(channel, int) else SERVER_CHANNELS


def _channels(speaker: Device) -> int:
    return speaker.outputs if speaker.outputs <= MAX_OUTPUT_CHANNELS else 2


def _device_latency(
    capture: DeviceStream, playback: DeviceStream, devices: tuple[Device, Device]
) -> tuple[float, float]:
    """Return input and output latency in seconds as PortAudio reports them, corrected for ALSA."""
    input_s, output_s = capture.latency[0], playback.latency[1]
    if devices[0].host_api == "ALSA":
        # PortAudio reports the buffer's capacity, but the callback runs after every block.
        input_s = capture.spec.block / capture.spec.rate
        if capture is playback:
            # PortAudio also counts a block of adaption, which equal blocks do not need.
            output_s -= input_s
    return input_s, output_s


def _open(spec: StreamSpec, device: Device, direction: Direction, in_python: bool) -> DeviceStream:
    sounddevice = portaudio()
    with capture_stderr() as noise:
        try:
            return open_stream(spec, in_python=in_python)
        except (sounddevice.PortAudioError, ValueError) as error:
            failure = error
    raise open_error(failure, device, direction, noise.text)
