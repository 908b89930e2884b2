"""The demonstration: a bundled utterance instead of a microphone, a file instead of a speaker."""

from __future__ import annotations

import io
import os
from importlib.resources import files
from pathlib import Path

import numpy as np

from rtvc._types import Float32
from rtvc.config.paths import unused_path, write_atomically
from rtvc.errors import RtvcError
from rtvc.live.devices import DeviceSelection, OpenDevices

_RATE = 48_000


def load_utterance() -> Float32:
    """Return the bundled utterance: (samples,) float32 mono at 48000 Hz."""
    import soundfile
    import soxr

    data = (files("rtvc") / "data" / "utterance.flac").read_bytes()
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return np.asarray(soxr.resample(samples, rate, _RATE), np.float32)


def claim_file(path: Path, *, force: bool) -> Path:
    """Return the file to write: `path`, or with a number where that exists already.

    Raises
    ------
    RtvcError
        If its folder cannot be written to: better now than after the run.
    """
    if not os.access(path.parent, os.W_OK):
        raise RtvcError(
            f"The folder {str(path.parent.absolute())!r} cannot be written to; "
            "go to another one, or name a file: --demo FILE."
        )
    return path if force else unused_path(path)


def open_demo(path: Path) -> OpenDevices:
    """Return the utterance as a microphone, in real time, and a 24-bit WAV file as a speaker."""
    from rtvc.audio.simulated import SimulatedDevice

    device = SimulatedDevice(load_utterance(), wall_clock=True)

    def keep() -> str:
        import soundfile

        if not device.played.size:
            return ""
        buffer = io.BytesIO()
        soundfile.write(buffer, device.played, _RATE, format="WAV", subtype="PCM_24")
        write_atomically(path, buffer.getvalue())
        return f"The result is in {path}."

    return OpenDevices(device, DeviceSelection("bundled utterance", str(path)), keep=keep)
