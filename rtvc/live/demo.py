"""The demo: a bundled utterance in place of the microphone, a file in place of the speaker."""

from __future__ import annotations

import io
import os
from importlib.resources import files
from pathlib import Path

import numpy as np

from rtvc._types import Float32
from rtvc.config.paths import unused_path
from rtvc.errors import RtvcError, escaped
from rtvc.live.devices import DeviceNames, OpenDevices
from rtvc.system.target_folder import require_folder_of

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
    UsageError, RtvcError
        As `check_file`.
    """
    check_file(path)
    return path if force else unused_path(path)


def check_file(path: Path) -> None:
    """Check that a sound file can be written.

    Raises
    ------
    UsageError
        If its extension names no sound format, or its folder does not exist.
    RtvcError
        If its folder cannot be written to.
    """
    from rtvc.audio.endpoint import ENGINE_RATE
    from rtvc.audio.sound_file import require_rate

    require_rate(path, ENGINE_RATE)
    require_folder_of(path)
    if not os.access(path.parent, os.W_OK):
        raise RtvcError(
            f"The folder {str(path.parent.absolute())!r} is not writable. "
            "Change to another folder, or name a file with --demo FILE."
        )


def open_demo(path: Path, *, force: bool) -> OpenDevices:
    """Return the utterance as the microphone, in real time, and a sound file as the speaker.

    The file is written at the end. If there is one by then, it is replaced if `force` is set, else
    a number is added to the name.
    """
    from rtvc.audio.simulated import SimulatedDevice

    device = SimulatedDevice(load_utterance(), wall_clock=True)

    def keep() -> str:
        from rtvc.audio.sound_file import SoundSink

        if not device.played.size:
            return ""
        written = path if force else unused_path(path)
        sink = SoundSink(written, _RATE, overwrite=force)
        try:
            sink.write(device.played, last=True)
        except BaseException:
            sink.discard()
            raise
        sink.finish()
        return f"The output is in {escaped(str(written))}."

    return OpenDevices(device, DeviceNames("bundled utterance", str(path)), keep=keep)
