"""Read a sound file in pieces, as mono at the engine's sample rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr

from rtvc._types import Float32
from rtvc.audio.decoder import open_decoder
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.sound_input import PIECE_S, SoundInput, inspect
from rtvc.errors import RtvcError
from rtvc.system.file_version import file_version


class SoundSource:
    """A sound file to read from start to end; it is never held in memory as a whole.

    Parameters
    ----------
    source
        What `inspect` returned, or a path to inspect first.

    Attributes
    ----------
    input
        What the file contains.
    rate
        The file's sample rate in Hz.
    frames_read
        Number of frames read so far, at the file's sample rate.
    ended
        Whether the end of the file has been reached.

    Raises
    ------
    RtvcError
        If the file cannot be read or contains no samples.
    """

    def __init__(self, source: Path | SoundInput) -> None:
        self.input = source if isinstance(source, SoundInput) else inspect(source)
        self.frames_read = 0
        self._check_version()
        self._decoder = open_decoder(self.input.path, self.input.name)
        self.rate = self.input.rate
        self.ended = False
        self._soxr = (
            None if self.rate == ENGINE_RATE else soxr.ResampleStream(self.rate, ENGINE_RATE, 1)
        )

    @property
    def progress(self) -> float:
        """Fraction of the file that has been read, 0 to 1."""
        return 1.0 if self.ended else min(1.0, self.frames_read / self.input.frames)

    def read(self) -> Float32:
        """Return the next (samples,) float32 at `ENGINE_RATE`; may be empty before the end.

        Raises
        ------
        RtvcError
            If the file is not as it was when it was inspected.
        """
        wanted = max(1, round(PIECE_S * self.rate))
        # A file that has grown since it was inspected is read up to its former end.
        wanted = min(wanted, self.input.frames - self.frames_read)
        frames = self._decoder.read(wanted)
        self.frames_read += len(frames)
        if len(frames) < wanted:
            raise self._changed()
        self.ended = self.frames_read == self.input.frames
        if self.ended:
            self._check_version()
        mono = self.input.downmix.apply(frames) * np.float32(self.input.scale)
        if self._soxr is None:
            return mono
        output: Float32 = self._soxr.resample_chunk(mono, last=self.ended)
        return output

    def _check_version(self) -> None:
        """Raise an error if other bytes were written into the file, unless it has only grown."""
        now = file_version(self.input.path)
        if now is None:
            return
        inode, changed, size = now
        before_inode, before_changed, before_size = self.input.version or (0, 0, 0)
        if inode != before_inode:
            if self.frames_read:
                return  # renamed over it: the former file was read
            raise self._changed()
        if size < before_size or (size == before_size and changed != before_changed):
            raise self._changed()

    def _changed(self) -> RtvcError:
        return RtvcError(
            f"{self.input.name} has changed while it was read. Convert it again when no other "
            "program writes to it."
        )

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._decoder.close()
        self._soxr = None  # see Decoder.close


def read_whole(source: Path | SoundInput, rate: int) -> Float32:
    """Return a sound file as mono, (samples,) float32, at `rate` Hz.

    Raises
    ------
    RtvcError
        See `SoundSource`.
    """
    opened = SoundSource(source)
    resample = soxr.ResampleStream(ENGINE_RATE, rate, 1, quality="VHQ")
    pieces = []
    try:
        while not opened.ended:
            piece = np.ascontiguousarray(opened.read())
            pieces.append(resample.resample_chunk(piece, last=opened.ended))
    finally:
        opened.close()
    return np.concatenate(pieces)
