"""Decode a sound file with libsndfile to its true end, in pieces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtvc._types import Float32
from rtvc.audio.containers.find import find_layout
from rtvc.audio.containers.layout import Layout
from rtvc.audio.containers.pieces import Piece, PiecesFile
from rtvc.errors import RtvcError
from rtvc.system.permission import permission_advice

UNKNOWN_FORMAT = "Format not recognised"
"""What libsndfile says of a file in no format that it reads."""
_NO_FORMAT = (
    UNKNOWN_FORMAT,
    "File contains data in an unimplemented format",
    "File does not exist or is not a regular file",
)
"""The same, and what it says of a file that begins like MPEG audio or Ogg."""


_REWORDED = {
    "Internal error : SF_INFO struct incomplete": "its header states a sample rate or a number of "
    "channels that no sound has",
    "Unspecified internal error": "its sample format is not supported",
    "Supported file format but file is malformed": "its beginning is damaged or incomplete",
    "unknown error in flac decoder": "its FLAC data is damaged or incomplete",
    "flac decoder lost sync": "what follows is no whole FLAC frame",
}
"""What libsndfile says of some files, and the same for users."""
_CALL = 1024
"""Frames that libsndfile reads at once."""


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read from start to end.

    In one that is seekable, soundfile seeks after each read. In an MP3 file libsndfile then
    loses the next 35 ms.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class Decoder:
    """The frames of a sound file, of all its parts one after another.

    Parameters
    ----------
    path
        A regular file.

    Attributes
    ----------
    rate, channels
        Sample rate in Hz and number of channels of the first part. Other rates are converted.
    subtype
        libsndfile's name of the sample format.
    tags
        Title, artist and the like, by libsndfile's names.
    layout
        What the container states.
    stated_frames
        Frames that libsndfile expects in the parts opened so far.
    frames_read
        Frames read so far.
    damage
        Why reading stopped before the end, "" if it did not.

    Raises
    ------
    soundfile.LibsndfileError, OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.layout: Layout = find_layout(path)
        self._parts: list[Sequence[Piece]] = [*self.layout.parts]
        self._resampler: soxr.ResampleStream | None = None
        self.stated_frames = self.frames_read = 0
        self._exhausted = False
        self.damage = ""
        self._pending: Float32 = np.empty((0, 1), np.float32)
        self.rate = 0
        self._file = self._open_next()
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.subtype: str = self._file.subtype
        self.tags: dict[str, str] = self._file.copy_metadata()
        self._pending = np.empty((0, self.channels), np.float32)

    def read(self, count: int) -> Float32:
        """Return the next (frames, channels) float32, fewer than `count` only at the end."""
        while len(self._pending) < count and not self._exhausted:
            self._pending = np.concatenate([self._pending, self._read_part(count)])
        frames, self._pending = self._pending[:count], self._pending[count:]
        self.frames_read += len(frames)
        return frames

    @property
    def ended(self) -> bool:
        """Whether all frames have been read."""
        return self._exhausted and not len(self._pending)

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._file.close()
        # After an error, a traceback can keep this object until Python exits. The module of
        # soxr would then print that it leaked.
        self._resampler = None

    def _open_next(self) -> soundfile.SoundFile:
        # As bytes: soundfile cannot encode names that are not UTF-8.
        source = PiecesFile(self._path, self._parts.pop(0)) if self._parts else None
        if source is None and self._path.suffix.lower() == ".raw":
            # By this name alone soundfile takes it for samples without a header.
            source = PiecesFile(self._path, ((0, self._path.stat().st_size),))
        file = _SequentialFile(source or os.fsencode(self._path))
        rate = self.rate or file.samplerate
        same = file.samplerate == rate
        self._resampler = (
            None if same else soxr.ResampleStream(file.samplerate, rate, file.channels)
        )
        self.stated_frames += round(file.frames * rate / file.samplerate)
        return file

    def _read_part(self, count: int) -> Float32:
        """Return the next frames of the current part; go to the next part at its end."""
        frames = self._read_frames(count)
        last = len(frames) < count
        if self._resampler is not None:
            frames = self._resampler.resample_chunk(frames, last=last)
        if frames.shape[1] != self.channels:
            frames = np.repeat(frames.mean(1, keepdims=True), self.channels, 1)
        if last and self._parts:
            self._file.close()
            try:
                self._file = self._open_next()
            except (soundfile.LibsndfileError, OSError) as error:
                self.damage, self._exhausted = reason_of(error), True
        elif last:
            self._exhausted = True
        return frames

    def _read_frames(self, count: int) -> Float32:
        """Return the next frames of the current part, fewer than `count` at its end.

        An error loses all frames of the call in which it happens, so the calls are short.
        """
        pieces: list[Float32] = [np.empty((0, self._file.channels), np.float32)]
        read = 0
        try:
            while read < count:
                wanted = min(_CALL, count - read)
                piece = self._file.read(wanted, dtype="float32", always_2d=True)
                pieces.append(piece)
                read += len(piece)
                if len(piece) < wanted:
                    break
        except (soundfile.LibsndfileError, OSError) as error:
            self.damage = reason_of(error)
        return np.concatenate(pieces)


def open_decoder(path: Path, name: str = "") -> Decoder:
    """Return a decoder of a file, which messages call `name`, by default its path.

    Raises
    ------
    RtvcError
        If there is no such file, or it cannot be read.
    """
    if not path.exists():
        raise RtvcError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise RtvcError(f"{path} is a folder, not a sound file.")
    try:
        if not path.stat().st_size:
            raise RtvcError(f"Cannot read {name or path}: it is empty.")
        return Decoder(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise RtvcError(_unreadable_message(path, name or str(path), error)) from None


def _unreadable_message(path: Path, name: str, error: Exception) -> str:
    """Return the message about a file that cannot be read, and that messages call `name`."""
    if isinstance(error, PermissionError):
        return f"You have no permission to read {name}.{permission_advice(error)}"
    reason = reason_of(error)
    if reason.startswith(_NO_FORMAT):
        reason = "it is in no format that libsndfile reads"
    elif isinstance(error, soundfile.LibsndfileError) and (damage := find_layout(path).damage):
        return (
            f"{name} is cut short or damaged: nothing can be read; {damage}. Copy or download it "
            "again."
        )
    return f"Cannot read {name}: {reason}. Check that it is a complete sound file."


def reason_of(error: Exception) -> str:
    """Return the reason that libsndfile or the system gives, without a full stop."""
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None)
    text = str(reason or error).removeprefix("Error : ").rstrip(". ") or "it is damaged"
    return _REWORDED.get(text, text)
