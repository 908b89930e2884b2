"""The open streams of a microphone and a speaker, in the engine's rate and in mono."""

from __future__ import annotations

import math
import time

import numpy as np

from rtvc._types import Float32
from rtvc.audio.devices import Device, Direction, accepts, cannot_open
from rtvc.audio.drift import ClockTrim
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.open_stream import open_stream
from rtvc.audio.portaudio import AudioError, captured_noise, portaudio
from rtvc.audio.resample import EdgeResampler
from rtvc.audio.stream_watchdog import StreamWatchdog
from rtvc.audio.streams import RING_S, DeviceStream, Port, StreamSpec
from rtvc.stats import DeviceHealth

BLOCK_S = 0.010
PRIMED_BLOCKS = 8
"""A device that stands still may ask for what its buffers hold, but not for so many."""
MOST_CHANNELS = 8
"""Devices with more outputs are mixers and virtual: two of them are used."""


class SilentDeviceError(AudioError):
    """A device that opens, but never asks for sound or gives any."""


class Duplex:
    """Streams at work, from `open_flow`.

    The engine's thread calls `available` and `take`, one thread at a time
    `write`, the heartbeat `tend` and `lost`.
    """

    def __init__(
        self, capture: DeviceStream, playback: DeviceStream, devices: tuple[Device, Device]
    ) -> None:
        self._capture, self._playback = capture, playback
        self._device_latency = _device_latency(capture, playback, devices)
        self._streams = [capture] if capture is playback else [capture, playback]
        self._pulses = [
            StreamWatchdog(s, d.name) for s, d in zip(self._streams, devices, strict=False)
        ]
        self._from_device = (
            None
            if capture.spec.rate == ENGINE_RATE
            else EdgeResampler(capture.spec.rate, ENGINE_RATE)
        )
        # Two devices have two clocks, so the output's resampler is there at equal rates too.
        self._clocks = None if capture is playback else ClockTrim()
        self._to_device = (
            None
            if self._clocks is None and playback.spec.rate == ENGINE_RATE
            else EdgeResampler(ENGINE_RATE, playback.spec.rate)
        )
        self._fifo = SampleFifo()
        self._dropped = 0
        self._started = time.monotonic()
        self.heard_anything = False

    def start(self, timeout: float) -> None:
        """Start the streams and return when each has begun to run.

        Raises
        ------
        AudioError
            If one does not start, or stays silent for `timeout` seconds.
        """
        sounddevice = portaudio()
        for pulse in self._pulses:
            with captured_noise() as noise:
                try:
                    pulse.stream.start()
                except sounddevice.PortAudioError as error:
                    failure = error
                else:
                    continue
            raise AudioError(f"{pulse.name!r} does not start: {failure}", noise.text)
        deadline = time.monotonic() + timeout
        for pulse in self._pulses:
            while pulse.stream.counters().frames < PRIMED_BLOCKS * pulse.stream.spec.block:
                if time.monotonic() > deadline:
                    raise SilentDeviceError(
                        f"{pulse.name!r} opens, but no sound flows: it may be suspended or in use; "
                        "close other programs that use it, or choose another device"
                    )
                time.sleep(0.002)
        self._started = time.monotonic()
        for pulse in self._pulses:
            pulse.begin()

    def finish(self) -> None:
        """Play out what the devices hold, then give them back."""
        for stream in self._streams:
            stream.stop()
        self.close()

    def close(self) -> None:
        """Give the devices back; it may hang if one was lost."""
        for stream in self._streams:
            stream.close()

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def tend(self) -> None:
        """Keep the callbacks supplied and the clocks together."""
        for stream in self._streams:
            stream.tend()
        if self._clocks is None or self._to_device is None:
            return
        captured, played = (
            s.counters().frames / s.spec.rate for s in (self._capture, self._playback)
        )
        if self._clocks.observe(time.monotonic(), captured, played):
            self._to_device.trim(self._clocks.trim)

    def lost(self, silent_s: float) -> str:
        """Return a sentence if a device is gone or has counted no frames for so long, else ""."""
        return next(filter(None, (pulse.lost(silent_s) for pulse in self._pulses)), "")

    def available(self) -> int:
        """Return how many input samples are there."""
        if self._fifo.size < RING_S * ENGINE_RATE:
            frames = self._capture.read(self._capture.readable)
            if len(frames):
                mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(1, dtype=np.float32)
                self.heard_anything = self.heard_anything or bool(mono.any())
                self._fifo.put(self._from_device.process(mono) if self._from_device else mono)
        return self._fifo.size

    def take(self, samples: int) -> Float32:
        """Take exactly so many input samples, which must be there."""
        return self._fifo.take(samples)

    @property
    def queued(self) -> int:
        """Output samples that wait for the device."""
        return round(self._playback.queued * ENGINE_RATE / self._playback.spec.rate)

    def write(self, samples: Float32) -> None:
        """Queue output for all channels; what has no room is dropped and counted."""
        mono = self._to_device.process(samples) if self._to_device else samples
        output = self._playback.spec.output
        assert output
        frames = np.repeat(mono[:, np.newaxis], output.channels, axis=1)
        self._dropped += self._playback.write(frames) < mono.size

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds of the input and the output side."""
        heard, said = self._device_latency
        if self._from_device:
            # What the resampler still holds comes out with a whole block of the device's.
            period = self._capture.spec.block / self._capture.spec.rate
            heard += math.ceil(self._from_device.delay_s / period - 0.05) * period
        return heard, said + (self._to_device.delay_s if self._to_device else 0.0)

    def health(self) -> DeviceHealth:
        """Return counters and fills."""
        counters = [stream.counters() for stream in self._streams]
        waiting = self._capture.readable / self._capture.spec.rate
        return DeviceHealth(
            underflows=sum(c.underflows for c in counters),
            overflows=sum(c.overflows for c in counters) + self._dropped,
            input_fill=waiting + self._fifo.size / ENGINE_RATE,
            output_fill=self._playback.queued / self._playback.spec.rate,
            drift_ppm=self._clocks.drift_ppm if self._clocks else 0.0,
        )


def open_flow(
    microphone: Device,
    speaker: Device,
    *,
    rate: int | None = None,
    input_channels: int | None = None,
    output_channels: int | None = None,
    in_python: bool = False,
) -> Duplex:
    """Open a microphone and a speaker: as one stream if they are one device.

    Parameters
    ----------
    microphone, speaker
        The devices.
    rate
        Samples per second of both; see `LiveEndpoint`.
    input_channels, output_channels
        How many channels to open of each.
    in_python
        Use the callback in Python.

    Raises
    ------
    AudioError
        If a device refuses.
    """
    heard = Port(microphone.index, input_channels or min(microphone.inputs, 2))
    said = Port(speaker.index, output_channels or _channels(speaker))
    rates = [rate] if rate else [ENGINE_RATE, round(microphone.rate), round(speaker.rate)]
    in_rates = [r for r in rates if accepts(microphone, "input", r, heard.channels)]
    out_rates = [r for r in rates if accepts(speaker, "output", r, said.channels)]
    common = [r for r in in_rates if r in out_rates]
    if microphone.index == speaker.index and common:
        spec = StreamSpec(common[0], round(common[0] * BLOCK_S), heard, said)
        stream = _open(spec, microphone, "input", in_python)
        return Duplex(stream, stream, (microphone, speaker))
    # Where it accepts nothing, opening it tells why.
    in_rate, out_rate = (in_rates or rates)[0], (out_rates or rates)[0]
    capture = _open(
        StreamSpec(in_rate, round(in_rate * BLOCK_S), input=heard), microphone, "input", in_python
    )
    try:
        spec = StreamSpec(out_rate, round(out_rate * BLOCK_S), output=said)
        playback = _open(spec, speaker, "output", in_python)
    except BaseException:
        capture.close()
        raise
    return Duplex(capture, playback, (microphone, speaker))


def open_playback(speaker: Device) -> DeviceStream:
    """Open a speaker alone, in the engine's rate if it takes that.

    Raises
    ------
    AudioError
        If it refuses.
    """
    said = Port(speaker.index, _channels(speaker))
    rates = [ENGINE_RATE, round(speaker.rate)]
    # Where it accepts nothing, opening it tells why.
    rate = next((r for r in rates if accepts(speaker, "output", r, said.channels)), rates[0])
    return _open(StreamSpec(rate, round(rate * BLOCK_S), output=said), speaker, "output", False)


def _channels(speaker: Device) -> int:
    return speaker.outputs if speaker.outputs <= MOST_CHANNELS else 2


def _device_latency(
    capture: DeviceStream, playback: DeviceStream, devices: tuple[Device, Device]
) -> tuple[float, float]:
    """Return seconds of the two devices as PortAudio states them, put right where it errs."""
    heard, said = capture.latency[0], playback.latency[1]
    if devices[0].host_api == "ALSA":
        # It states what the buffer could hold, but a block is taken as soon as it is there.
        heard = capture.spec.block / capture.spec.rate
        if capture is playback:
            said -= heard  # and it counts a block of adaption that equal blocks do not need
    return heard, said


def _open(spec: StreamSpec, device: Device, direction: Direction, in_python: bool) -> DeviceStream:
    sounddevice = portaudio()
    with captured_noise() as noise:
        try:
            return open_stream(spec, in_python=in_python)
        except (sounddevice.PortAudioError, ValueError) as error:
            failure = error
    raise cannot_open(failure, device, direction, noise.text)
