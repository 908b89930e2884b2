"""Write sound files in pieces, from mono at the engine's sample rate."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from rtvc._types import Float32
from rtvc.audio.decoder import reason_of
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.limiter import LimitedResampler
from rtvc.errors import RtvcError, UsageError
from rtvc.system.durable import flush_file, flush_folder
from rtvc.system.processes import is_running
from rtvc.system.target_folder import require_folder_of

_FEW_RATES = {
    "MP3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "WVE": (8000,),
}
"""Rates of the formats and subtypes that support only these."""
_LARGEST_RATE = 192_000  # libsndfile's encoders fail above
_OTHER_RATES = {"WVE": 8000, "HTK": 16_000}
"""Formats that do not support `ENGINE_RATE`, and a rate that they support."""
_NOT_WRITTEN = "RAW", "SD2", "XI"
"""Formats of libsndfile without a header, with a second file, and in which it does not seek."""
_LARGEST_WAV = 10**9
"""Frames above which a WAV file becomes an RF64 file: its header counts to 4 GB."""
_RATE_ERROR = 1e-3
"""Rounding of the sample rate in a header that is no fault."""
_PART_NAME = 200
"""Bytes of the name of an unfinished file at most; file systems allow 255."""


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
    frames
        Expected length, to select RF64 for a WAV file beyond 4 GB.
    subtype
        libsndfile's sample format; by default that of `format_of`.
    tags
        Title, artist and the like, by libsndfile's names; those that the format cannot hold are
        left out.
    ceiling_db
        Largest true peak in dBTP, which the conversion to `rate` must not exceed.

    Attributes
    ----------
    frames_written
        Number of frames written so far, at the file's sample rate.

    Raises
    ------
    RtvcError
        If the file cannot be created.
    UsageError
        If the file already exists, the extension is unknown, or the format does not support the
        sample rate.
    """

    def __init__(
        self,
        path: Path,
        rate: int,
        *,
        overwrite: bool = False,
        frames: int = 0,
        subtype: str = "",
        tags: Iterable[tuple[str, str]] = (),
        ceiling_db: float = 0.0,
    ) -> None:
        # A link stays one, and its target is replaced.
        self.path = path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self.frames_written = 0
        self._rate = rate
        self._overwrite = overwrite
        form, usual = format_of(path)
        form = "RF64" if form == "WAV" and frames > _LARGEST_WAV else form
        subtype = subtype or usual
        require_rate(path, rate)
        require_new(path, overwrite=overwrite)
        _remove_abandoned_parts(path)
        self._part = path.with_name(f"{_part_prefix(path)}{os.getpid()}.part")
        # An interrupt may come at any moment, also before anybody can call `discard`.
        self._unfinished = weakref.finalize(self, _remove_part, self._part)
        try:
            with self._part.open("wb"):  # unlike libsndfile, the system gives a reason
                pass
            # As bytes: soundfile cannot encode names that are not UTF-8.
            name = os.fsencode(self._part)
            self._file = soundfile.SoundFile(name, "w", rate, 1, format=form, subtype=subtype)
        except (soundfile.LibsndfileError, OSError) as error:
            self._unfinished()
            raise self._write_error(reason_of(error)) from None
        for tag, text in tags:
            with contextlib.suppress(soundfile.LibsndfileError, AttributeError, RuntimeError):
                setattr(self._file, tag, text)
        self._resampler = (
            None if rate == ENGINE_RATE else LimitedResampler(ENGINE_RATE, rate, ceiling_db)
        )

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
        if self._resampler is not None:
            samples = self._resampler.process(samples, last=last)
        if at_most is not None:
            samples = samples[: max(0, at_most - self.frames_written)]
        self._append(samples)

    def pad(self, frames: int) -> None:
        """Append silence up to a length in frames.

        Raises
        ------
        RtvcError
            If the file cannot be written.
        """
        self._append(np.zeros(max(0, frames - self.frames_written), np.float32))

    def _append(self, samples: Float32) -> None:
        try:
            self._file.write(samples)
        except (soundfile.LibsndfileError, OSError) as error:
            raise self._write_error(reason_of(error)) from None
        self.frames_written += samples.size

    def finish(self) -> None:
        """Close the file, check that it is complete on the disk, and give it its name.

        Raises
        ------
        RtvcError
            If the file is not complete or cannot be renamed; it is then removed.
        """
        try:
            self._file.close()
            self._check_complete()
            flush_file(self._part)
            if self._overwrite:
                self._part.replace(self.path)
            else:
                _rename_without_overwriting(self._part, self.path)
            self._unfinished.detach()
            flush_folder(self.path.parent)
        except RtvcError:
            self.discard()
            raise
        except (soundfile.LibsndfileError, OSError) as error:
            self.discard()
            raise self._write_error(reason_of(error)) from None

    def _write_error(self, reason: str) -> RtvcError:
        """Return the error for a reason; libsndfile's for a full disk is "System error"."""
        if not self.path.parent.is_dir():
            return RtvcError(f"Cannot write {self.path}: its folder has been removed.")
        why = "the disk may be full" if reason == "System error" else reason
        advice = " Free some space, or write to another disk." if "full" in why else ""
        return RtvcError(f"Cannot write {self.path}: {why}.{advice}")

    def _check_complete(self) -> None:
        """Raise an error if the end of the file cannot be read: libsndfile ignores errors at close.

        Raises
        ------
        RtvcError
            If it cannot.
        """
        length = self.frames_written
        tail = min(length, self._rate)
        try:
            with soundfile.SoundFile(os.fsencode(self._part)) as file:
                right = abs(file.samplerate / self._rate - 1) < _RATE_ERROR
                complete = right and file.frames >= length
                if complete and tail:
                    file.seek(length - tail)
                    complete = len(file.read(tail)) == tail
        except (soundfile.LibsndfileError, OSError):
            complete = not length  # some formats cannot be read without samples
        if not complete:
            raise self._write_error("its end is missing on the disk, which may be full")

    def discard(self) -> None:
        """Close the file and remove it; safe to repeat."""
        self._resampler = None  # see Decoder.close
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.close()
        self._unfinished()


def _remove_part(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)


def require_new(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be created or replaced, before the work.

    Raises
    ------
    UsageError
        If it exists and must not be overwritten, or its folder does not exist.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file that can be replaced. Choose another name.")
    if path.exists() and not overwrite:
        raise UsageError(_exists_message(path))
    if os.path.islink(os.path.realpath(path)):
        raise UsageError(f"{path} is a link that leads back to itself. Choose another name.")
    require_folder_of(path)


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
    if form not in soundfile.available_formats() or form in _NOT_WRITTEN:
        raise UsageError(
            f"The extension {path.suffix or '(none)'!r} of {path} names no sound format. "
            "Use .wav, .flac, .ogg, .opus, .mp3 or .aiff."
        )
    if "PCM_24" in soundfile.available_subtypes(form):
        return form, "PCM_24"
    return form, str(soundfile.default_subtype(form))


def supports_rate(path: Path, rate: int) -> bool:
    """Return whether the format of a file's extension supports a sample rate.

    Raises
    ------
    UsageError
        If libsndfile writes no format with this extension.
    """
    form, subtype = format_of(path)
    few = _FEW_RATES.get(form) or _FEW_RATES.get(subtype)
    if few is not None:
        return rate in few
    if not 1 <= rate <= _LARGEST_RATE:
        return False
    if form == "HTK":  # its header has whole periods of 100 ns
        return 10**7 // (10**7 // rate) == rate
    if form == "FLAC":  # above, it is in units of 10 Hz
        return rate < 1 << 16 or rate % 10 == 0
    return rate < 1 << 16 or form not in ("SVX", "MPC2K")  # these have 16 bits for it


def usual_rate(path: Path) -> int:
    """Return a sample rate that the format of a file's extension supports.

    Raises
    ------
    UsageError
        If libsndfile writes no format with this extension.
    """
    return _OTHER_RATES.get(format_of(path)[0], ENGINE_RATE)


def require_rate(path: Path, rate: int) -> None:
    """Check that a file can have a sample rate.

    Raises
    ------
    UsageError
        If the extension is unknown, or its format does not support the rate.
    """
    if not supports_rate(path, rate):
        raise UsageError(
            f"{path}: {format_name(path)} files do not support {rate} Hz; {usual_rate(path)} Hz "
            "always works."
        )


def format_name(path: Path) -> str:
    """Return what messages call the format of a file's extension, such as Opus or WVE."""
    form, subtype = format_of(path)
    return subtype if form == "OGG" else form


def _rename_without_overwriting(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename, this fails if the file was created meanwhile
    except FileExistsError:
        raise UsageError(_exists_message(path)) from None
    except OSError:  # the file system has no hard links
        if path.exists():
            raise UsageError(_exists_message(path)) from None
        part.replace(path)
    else:
        part.unlink()


def _part_prefix(path: Path) -> str:
    """Return the beginning of the names of unfinished files of `path`, within the limit."""
    name = f".{path.name}"
    while len(os.fsencode(name)) > _PART_NAME:  # by characters: macOS refuses parts of one
        name = name[:-1]
    return f"{name}."


def _remove_abandoned_parts(path: Path) -> None:
    """Remove unfinished files of `path` whose programs were killed."""
    prefix = _part_prefix(path)
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            process = name.removeprefix(prefix).removesuffix(".part")
            if name != f"{prefix}{process}.part" or not process.isdigit():
                continue
            if not is_running(int(process)):
                (path.parent / name).unlink()


def _exists_message(path: Path) -> str:
    return f"{path} exists already. Choose another name, or overwrite it with --force."
