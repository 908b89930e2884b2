"""Echo cancellation by AEC3 of WebRTC, in the package livekit.

Of that package only the audio processing module is used: no server and no network. Its library
starts three threads in a process that uses it, which wait until the end of the process, and
its module cannot be used in a forked child.
"""

from __future__ import annotations

import logging

import numpy as np
from livekit.rtc import AudioFrame
from livekit.rtc.apm import AudioProcessingModule

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo

_FRAME = ENGINE_RATE // 100
_MODULE_DELAY = 431
"""Delay of the module at 48 kHz in samples: where the correlation of its output with speech at its
input is highest. Its filters delay some frequencies near 8 kHz by up to 1.5 ms more."""
_FULL_SCALE = 32_767.0

# Without a handler, logging prints warnings on standard error, where the panel is.
logging.getLogger("livekit").addHandler(logging.NullHandler())


class WebRtcEchoCanceller:
    """One stream; see `rtvc.audio.echo_canceller.EchoCanceller`.

    The module works with 16 bits, and at 32 kHz inside: nothing above 14 kHz remains.

    Parameters
    ----------
    delay
        Samples by which the output lags the input, 431 or more.
    """

    def __init__(self, delay: int) -> None:
        self._module = AudioProcessingModule(echo_cancellation=True)
        self._waiting = SampleFifo()
        self._waiting.push(np.zeros(delay - _MODULE_DELAY, np.float32))

    def process(self, microphone: Float32, played: Float32) -> Float32:
        """Return the next block of the microphone without echo."""
        near, far = (
            np.round(np.clip(np.nan_to_num(one), -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
            for one in (microphone, played)
        )
        for at in range(0, len(near), _FRAME):
            self._module.process_reverse_stream(_frame(far[at : at + _FRAME]))
            # AEC3 estimates the delay itself, but wants to be told one with each frame.
            self._module.set_stream_delay_ms(0)
            frame = _frame(near[at : at + _FRAME])
            self._module.process_stream(frame)
            clean = np.frombuffer(frame.data, np.int16) * np.float32(1 / _FULL_SCALE)
            self._waiting.push(clean)
        return self._waiting.pop(len(microphone))


def _frame(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> AudioFrame:
    return AudioFrame(samples.tobytes(), ENGINE_RATE, 1, _FRAME)
