"""The demo: a bundled utterance in place of the microphone, a file in place of the speaker."""

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
    """Return the file to write: `path`, or the same name with a number if it exists.

    Raises
    ------
    RtvcError
        If its folder cannot be written to.
    """
    if not os.access(path.parent, os.W_OK):
        raise RtvcError(
            f"The folder {str(path.parent.absolute())!r} is not writable. "
            "Change to another folder, or name a file with --demo FILE."
        )
    return path if force else unused_path(path)


def open_demo(path: Path) -> OpenDevices:
    """Return the utterance as the microphone, in real time, and a WAV file as the speaker."""
    from rtvc.audio.simulated import SimulatedDevice

    device = SimulatedDevice(load_utterance(), wall_clock=True)

    def keep() -> str:
        import soundfile

        if not device.played.size:
            return ""
        buffer = io.BytesIO()
        soundfile.write(buffer, device.played, _RATE, format="WAV", subtype="PCM_24")
        write_atomically(path, buffer.getvalue())
        return f"The output is in {path}."

    return OpenDevices(device, DeviceSelection("bundled utterance", str(path)), keep=keep)
