"""Read and write sound files in pieces, as mono at the engine's sample rate.

A file is never held in memory as a whole, except by `read_whole`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.errors import RtvcError, UsageError

_PIECE_S = 0.5
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_LARGEST_RATE = 192_000  # libsndfile's encoders fail above


class SoundSource:
    """A sound file to read from start to end.

    Parameters
    ----------
    path
        A file of any format, sample rate and number of channels that libsndfile reads;
        the channels are averaged.

    Attributes
    ----------
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

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise RtvcError(f"There is no file {str(path)!r}.")
        if path.is_dir():
            raise RtvcError(f"{path} is a folder, not a sound file.")
        try:
            with path.open("rb"):  # unlike libsndfile, the system gives a reason
                pass
            self._file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, OSError) as error:
            raise RtvcError(_unreadable_message(path, error)) from None
        self.rate: int = self._file.samplerate
        self.frames_read = 0
        self.ended = False
        if not self._file.frames:
            self.close()
            raise RtvcError(f"{path} contains no audio; it is zero seconds long.")
        self._soxr = (
            None if self.rate == ENGINE_RATE else soxr.ResampleStream(self.rate, ENGINE_RATE, 1)
        )

    @property
    def progress(self) -> float:
        """Fraction of the file that has been read, 0 to 1."""
        return 1.0 if self.ended else min(1.0, self.frames_read / self._file.frames)

    def read(self) -> Float32:
        """Return the next (samples,) float32 at `ENGINE_RATE`; may be empty, also before the end.

        Raises
        ------
        RtvcError
            If the file is damaged or contains NaN or infinite samples.
        """
        wanted = max(1, round(_PIECE_S * self.rate))
        try:
            frames = self._file.read(wanted, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise RtvcError(_unreadable_message(self.path, error)) from None
        if not np.isfinite(frames).all():
            first = self.frames_read + int(np.argmin(np.isfinite(frames).all(1)))
            raise RtvcError(
                f"{self.path} contains NaN or infinite samples, the first at "
                f"{first / self.rate:.3f} s. Export the file again, or cut that part out."
            )
        self.frames_read += len(frames)
        self.ended = len(frames) < wanted
        mono: Float32 = frames[:, 0] if frames.shape[1] == 1 else frames.mean(1, dtype=np.float32)
        if self._soxr is None:
            return mono
        output: Float32 = self._soxr.resample_chunk(np.ascontiguousarray(mono), last=self.ended)
        return output

    def close(self) -> None:
        """Close the file; safe to repeat."""
        self._file.close()
        # After an error, a traceback can keep this object until Python exits. The module of
        # soxr would then print that it leaked.
        self._soxr = None


def read_whole(path: Path, rate: int) -> Float32:
    """Return a sound file as mono, (samples,) float32, at `rate` Hz.

    Raises
    ------
    RtvcError
        See `SoundSource`.
    """
    source = SoundSource(path)
    resample = soxr.ResampleStream(ENGINE_RATE, rate, 1, quality="VHQ")
    pieces = []
    try:
        while not source.ended:
            piece = np.ascontiguousarray(source.read())
            pieces.append(resample.resample_chunk(piece, last=source.ended))
    finally:
        source.close()
    return np.concatenate(pieces)


class SoundSink:
    """A sound file to write; it appears under its name only when it is complete.

    Parameters
    ----------
    path
        The file; its extension selects the format.
    rate
        The file's sample rate in Hz.
    overwrite
        Whether to replace an existing file.

    Attributes
    ----------
    frames_written
        Number of frames written so far, at the file's sample rate.

    Raises
    ------
    RtvcError
        If the file already exists or cannot be created.
    UsageError
        If the extension is unknown, or the format does not support the sample rate.
    """

    def __init__(self, path: Path, rate: int, *, overwrite: bool = False) -> None:
        self.path = path
        self.frames_written = 0
        self._overwrite = overwrite
        form, subtype = format_of(path)
        if not supports_rate(subtype, rate):
            raise UsageError(
                f"{path}: {subtype} files do not support {rate} Hz; 48000 Hz always works."
            )
        if path.exists() and not overwrite:
            raise RtvcError(_exists_message(path))
        if not path.parent.is_dir():
            raise RtvcError(f"There is no folder {path.parent} for {path.name}; create it first.")
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with self._part.open("wb"):  # unlike libsndfile, the system gives a reason
                pass
            self._file = soundfile.SoundFile(self._part, "w", rate, 1, format=form, subtype=subtype)
        except (soundfile.LibsndfileError, OSError) as error:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            raise RtvcError(f"Cannot write {path}: {_reason(error)}.") from None
        self._soxr = None if rate == ENGINE_RATE else soxr.ResampleStream(ENGINE_RATE, rate, 1)

    def write(self, samples: Float32, *, at_most: int | None = None, last: bool = False) -> None:
        """Append samples at `ENGINE_RATE`.

        Parameters
        ----------
        samples
            (n,) float32.
        at_most
            Maximum length of the file in frames; further frames are dropped.
        last
            Whether these are the last samples; flushes the resampler.

        Raises
        ------
        RtvcError
            If the file cannot be written; most often the disk is full.
        """
        if self._soxr is not None:
            samples = self._soxr.resample_chunk(np.ascontiguousarray(samples), last=last)
        if at_most is not None:
            samples = samples[: max(0, at_most - self.frames_written)]
        try:
            self._file.write(samples)
        except (soundfile.LibsndfileError, OSError) as error:
            raise RtvcError(
                f"Cannot write {self.path}: {_reason(error)}. The disk may be full; free some "
                "space, or write to another disk."
            ) from None
        self.frames_written += samples.size

    def finish(self) -> None:
        """Close the file and give it its name.

        Raises
        ------
        RtvcError
            If the file cannot be closed or renamed; it is then removed.
        """
        try:
            self._file.close()
            if self._overwrite:
                self._part.replace(self.path)
            else:
                _rename_without_overwriting(self._part, self.path)
        except RtvcError:
            self.discard()
            raise
        except (soundfile.LibsndfileError, OSError) as error:
            self.discard()
            raise RtvcError(f"Cannot write {self.path}: {_reason(error)}.") from None

    def discard(self) -> None:
        """Close the file and remove it; safe to repeat."""
        self._soxr = None  # see SoundSource.close
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.close()
        self._part.unlink(missing_ok=True)


def format_of(path: Path) -> tuple[str, str]:
    """Return libsndfile's format and subtype for a file's extension; 24-bit PCM if possible.

    Raises
    ------
    UsageError
        If libsndfile writes no format with this extension.
    """
    extension = path.suffix.lower().lstrip(".")
    special = {"ogg": ("OGG", "VORBIS"), "oga": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
    if extension in special:
        return special[extension]
    form = {"aif": "AIFF", "aifc": "AIFF"}.get(extension, extension.upper())
    if form not in soundfile.available_formats() or form == "RAW":
        raise UsageError(
            f"{path}: the extension {path.suffix or '(none)'!r} names no sound format. "
            "Use .wav, .flac, .ogg, .opus, .mp3 or .aiff."
        )
    if "PCM_24" in soundfile.available_subtypes(form):
        return form, "PCM_24"
    return form, str(soundfile.default_subtype(form))


def supports_rate(subtype: str, rate: int) -> bool:
    """Return whether files of a libsndfile subtype support a sample rate."""
    if subtype == "OPUS":
        return rate in _OPUS_RATES
    if subtype.startswith("MPEG"):
        return rate in _MP3_RATES
    return 1 <= rate <= _LARGEST_RATE


def _rename_without_overwriting(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename, this fails if the file was created meanwhile
    except FileExistsError:
        raise RtvcError(_exists_message(path)) from None
    except OSError:  # the file system has no hard links
        if path.exists():
            raise RtvcError(_exists_message(path)) from None
        part.replace(path)
    else:
        part.unlink()


def _exists_message(path: Path) -> str:
    return f"{path} exists already. Choose another name, or allow overwriting (--force)."


def _unreadable_message(path: Path, error: Exception) -> str:
    reason = _reason(error)
    if reason == "Format not recognised":
        reason = "it is in no format that libsndfile reads"
    return f"Cannot read {path}: {reason}. Check that it is a complete sound file."


def _reason(error: Exception) -> str:
    """Return the reason that libsndfile or the system gives, without a full stop."""
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None)
    return str(reason or error).rstrip(". ")
