"""A sound file that can be played at any moment while it is written.

A program that is killed, or a disk that becomes full, then costs what was not written yet and
nothing else. Headers are kept up to date, which libsndfile alone does when a file is closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import numpy as np
import soundfile

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.sound_file import format_of, require_rate
from rtvc.errors import RtvcError
from rtvc.system.durable import flush_folder

_UPDATE_HEADER_NOW = 0x1060
"""libsndfile's SFC_UPDATE_HEADER_NOW; for formats without compression."""
_FLAC_BLOCK = 4096
_FLAC_COUNT = 18
"""Position of the 8 bytes of a FLAC file whose last 36 bits are the number of samples."""
_HEADER_BYTES = 64
_MP3 = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
"""Constant bit rate (160 kbit/s): the length of an unfinished MP3 file is then known."""
_MAX_NUMBER = 10_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RecordingError(RtvcError):
    """A recording cannot be written.

    Attributes
    ----------
    reason
        Why, as a clause.
    """

    def __init__(self, path: Path, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            self.reason = "the disk is full"
        elif isinstance(error, FileNotFoundError):
            self.reason = f"there is no folder {path.parent}"
            super().__init__(f"There is no folder {path.parent} for {path.name}; create it first.")
            return
        else:
            text = getattr(error, "strerror", None) or getattr(error, "error_string", None)
            self.reason = f"it cannot be written ({str(text or error).rstrip('. ')})"
        super().__init__(f"Cannot record to {path}: {self.reason}.")


class RecordingFile:
    """A mono sound file at `ENGINE_RATE` that is written piece by piece.

    WAV, AIFF and FLAC files are complete after each `write`, except for FLAC's newest block of
    at most 85 ms. MP3 files lack up to 50 ms. Ogg files lack up to 5 s, because samples are
    written in pages.

    Parameters
    ----------
    path
        The file; its extension selects the format. If the file exists, a number is added to
        the name: nothing is ever overwritten.

    Attributes
    ----------
    path
        The file that is written.
    frames
        Samples written.

    Raises
    ------
    RtvcError
        If the file cannot be created.
    UsageError
        If the extension names no sound format that supports `ENGINE_RATE`.
    """

    def __init__(self, path: Path) -> None:
        require_rate(path, ENGINE_RATE)
        form, subtype = format_of(path)
        self.frames = 0
        self.path, self._disk = _create(path)
        self._lossless = not subtype.startswith(("VORBIS", "OPUS", "MPEG"))
        self._flac = form == "FLAC"
        try:
            self._sound = soundfile.SoundFile(
                self._disk,
                "w",
                ENGINE_RATE,
                1,
                format=form,
                subtype=subtype,
                **(_MP3 if form == "MP3" else {}),
            )
            self._update_header()
        except (soundfile.LibsndfileError, OSError) as error:
            self._disk.close()
            self.path.unlink(missing_ok=True)
            raise RecordingError(self.path, self._disk.error or error) from None
        self._good = self._disk.end()

    @property
    def paged(self) -> bool:
        """Whether samples reach the file late, in pages (Ogg)."""
        return not (self._lossless or self.path.suffix.lower() == ".mp3")

    def write(self, samples: Float32) -> None:
        """Append (n,) float32.

        Raises
        ------
        RecordingError
            If the file cannot be written; it then ends with the previous call, and is closed.
        """
        before = self.frames
        try:
            self._sound.write(samples)
            self.frames += samples.size
            self._update_header()
            self._raise_disk_error()
        except (soundfile.LibsndfileError, OSError, AssertionError) as error:
            self.frames = before
            self._seal()
            raise RecordingError(self.path, self._disk.error or error) from None
        self._good = self._disk.end()

    def sync(self) -> None:
        """Wait until what was written is on the disk.

        Raises
        ------
        RecordingError
            If the disk reports an error.
        """
        try:
            os.fsync(self._disk.number)
        except OSError as error:
            raise RecordingError(self.path, error) from None

    def close(self) -> None:
        """Complete the file, and wait until it is on the disk; remove a file without samples.

        Raises
        ------
        RecordingError
            If it cannot be written; what was written before stays playable.
        """
        if self._disk.closed:
            return
        try:
            self._sound.close()
            self._raise_disk_error()
            os.fsync(self._disk.number)
        except (soundfile.LibsndfileError, OSError) as error:
            self._seal()
            raise RecordingError(self.path, self._disk.error or error) from None
        self._disk.close()
        if not self.frames:
            self.path.unlink(missing_ok=True)
        flush_folder(self.path.parent)

    def discard(self) -> None:
        """Close and remove the file."""
        self._seal()
        self.path.unlink(missing_ok=True)

    def _update_header(self) -> None:
        if self._flac:
            # The encoder keeps the newest block, of 1 to 4096 samples.
            whole = max(0, self.frames - 1) // _FLAC_BLOCK * _FLAC_BLOCK
            fields = int.from_bytes(os.pread(self._disk.number, 8, _FLAC_COUNT), "big")
            fields = (fields >> 36 << 36) | whole
            os.pwrite(self._disk.number, fields.to_bytes(8, "big"), _FLAC_COUNT)
        elif self._lossless:
            soundfile._snd.sf_command(self._sound._file, _UPDATE_HEADER_NOW, soundfile._ffi.NULL, 0)

    def _raise_disk_error(self) -> None:
        if self._disk.error is not None:
            raise self._disk.error

    def _seal(self) -> None:
        """Cut off what was written incompletely, and close; remove a file without samples."""
        if self._disk.closed:
            return
        self._disk.sealed = True
        with contextlib.suppress(soundfile.LibsndfileError, AssertionError):
            self._sound.close()
        self._disk.restore(self._good)
        self._disk.close()
        if not self.frames:
            with contextlib.suppress(OSError):  # nor can it be removed from some disks
                self.path.unlink(missing_ok=True)


class _Disk:
    """The file for libsndfile, which would report any failure as "System error"."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.error: OSError | None = None
        self.sealed = False
        """Whether nothing more is written, although libsndfile is told so."""

    @property
    def closed(self) -> bool:
        return self.number < 0

    def end(self) -> tuple[int, bytes]:
        """Return the size of the file, and its first bytes, which hold its length."""
        return os.fstat(self.number).st_size, os.pread(self.number, _HEADER_BYTES, 0)

    def restore(self, end: tuple[int, bytes]) -> None:
        """Return to an earlier `end`."""
        size, header = end
        with contextlib.suppress(OSError):
            os.ftruncate(self.number, size)
            os.pwrite(self.number, header, 0)
            os.fsync(self.number)

    def write(self, data: bytes) -> int:
        done = 0
        while not self.sealed and done < len(data):
            try:
                done += os.write(self.number, data[done:])
            except OSError as error:
                self.error = self.error or error
                return done
        return len(data)

    def read(self, count: int) -> bytes:
        return os.read(self.number, count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self.number, offset, whence)

    def tell(self) -> int:
        return os.lseek(self.number, 0, os.SEEK_CUR)

    def close(self) -> None:
        if not self.closed:
            number, self.number = self.number, -1
            with contextlib.suppress(OSError):  # a failure to write is known already
                os.close(number)


def silence(samples: int) -> Float32:
    """Return (samples,) zeros."""
    return np.zeros(samples, np.float32)


def _create(path: Path) -> tuple[Path, _Disk]:
    """Create a file of this name, or with the first number that no file has."""
    for number in range(1, _MAX_NUMBER):
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            return free, _Disk(os.open(free, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        except OSError as error:
            raise RecordingError(path, error) from None
    raise RtvcError(f"There are too many files like {path}; remove some.")
