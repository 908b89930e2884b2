"""A ring buffer of output that ends in a tail, which the next output replaces."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtvc._types import Float32, Float64


class TailRing:
    """PortAudio's ring buffer for one reader, the callback, and one writer at a time.

    After the queued output it holds a tail, such as a fade. If the writer is late, because
    another thread holds the interpreter lock, the callback plays the tail without anybody's
    help. If not, the next output overwrites it in place: the ring's indices only advance, so
    the callback never reads anything that was played before.

    Parameters
    ----------
    memory
        (frames, channels) float32, the ring's memory.
    ring
        The ring buffer in it.
    """

    def __init__(self, memory: Float32, ring: Any) -> None:
        self.ring = ring
        self._memory = memory
        self._advanced = 0
        """Frames that the ring's write index has advanced, tails included."""
        self._end = 0
        """The same without the present tail: the end of the output."""
        self._offset: int | None = None
        """The device's frames minus the frames read, while there is output."""
        self._empty = True
        self._taken = self._carried = 0
        self._silent_until = 0
        """End of the silence after the last fade-out."""

    @property
    def read_available(self) -> int:
        """Number of frames of output that wait, without the tail."""
        return max(0, self._end - self._position)

    @property
    def write_available(self) -> int:
        """Number of frames of output that can be queued."""
        return len(self._memory) - self.read_available

    @property
    def _position(self) -> int:
        return self._advanced - int(self.ring.read_available)

    def write(self, frames: Float32, device_frames: int, tail: Float32 | None = None) -> int:
        """Queue output instead of the tail, then another tail; return how much output fitted."""
        position = self._position
        start = max(self._end, position)
        self._carried += max(0, self._missed(device_frames) - self._taken)
        self._taken = 0
        if position >= self._end:
            self._offset = device_frames - start  # from the next callback on
        room = len(self._memory) - (start - position)
        written = min(len(frames), room)
        pieces = [frames[:written]]
        if tail is not None:
            pieces.append(tail[: room - written])
        # A shorter tail than before ends in silence.
        rest = self._advanced - start - sum(map(len, pieces))
        pieces.append(np.zeros((max(0, rest), self._memory.shape[1]), np.float32))
        data = np.concatenate(pieces)
        self._overwrite(start, data[: self._advanced - start])
        self._silent_until = min(self._silent_until, start)
        added = np.ascontiguousarray(data[self._advanced - start :])
        if len(added):
            self._advanced += int(self.ring.write(added))
        self._end = start + written
        self._empty = False
        return written

    def fade_out(self, after: int, width: int, silent: int) -> None:
        """Fade queued output to silence in place.

        Parameters
        ----------
        after
            Frames before the fade, which the callback may be reading now.
        width, silent
            Length of the fade, and of the silence after it, in frames.
        """
        gain = np.concatenate([_ramp(width)[::-1], np.zeros(silent)])
        start = self._position + after
        self._scale(start, gain)
        self._silent_until = min(start + len(gain), self._advanced)

    def fade_in(self, width: int) -> None:
        """Fade in what follows the silence, in place, while the callback does not run."""
        self._scale(max(self._position, self._silent_until), _ramp(width))

    def observe(self, device_frames: int, ended: bool) -> bool:
        """Compare with the device's clock every few milliseconds.

        Parameters
        ----------
        device_frames
            Frames on the device's clock.
        ended
            Whether the callback has stopped to read, since the ring was empty.

        Returns
        -------
        bool
            Whether the output has just run out.
        """
        position = self._position
        if position < self._end and not ended:
            if position:
                self._offset = device_frames - position
            return False
        ran_out = not self._empty and (ended or position > self._end)
        self._empty = self._empty or ran_out
        return ran_out

    def take_missed(self, device_frames: int) -> int:
        """Return how many frames the device has played without output since the last call."""
        missed = self._missed(device_frames)
        fresh, self._taken = max(0, missed - self._taken), max(missed, self._taken)
        carried, self._carried = self._carried, 0
        return fresh + carried

    def _missed(self, device_frames: int) -> int:
        if self._offset is None or self._position < self._end:
            return 0
        return max(0, device_frames - self._offset - self._end)

    def _scale(self, start: int, gain: Float64) -> None:
        at = np.arange(start, min(start + len(gain), self._advanced)) % len(self._memory)
        self._memory[at] *= gain[: len(at), np.newaxis].astype(np.float32)

    def _overwrite(self, start: int, data: Float32) -> None:
        at = start % len(self._memory)
        first = min(len(data), len(self._memory) - at)
        self._memory[at : at + first] = data[:first]
        self._memory[: len(data) - first] = data[first:]


def _ramp(width: int) -> Float64:
    ramp: Float64 = np.sin(np.linspace(0, np.pi / 2, width)) ** 2
    return ramp
