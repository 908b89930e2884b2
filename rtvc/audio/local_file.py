"""Any input as a regular file that libsndfile reads: pipes are copied, other formats decoded.

m4a, mp4, webm and the like are decoded by ffmpeg, or by afconvert, which is part of macOS.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from rtvc.audio.containers.find import find_layout
from rtvc.audio.containers.layout import NO_LENGTH
from rtvc.audio.decoder import UNKNOWN_FORMAT, Decoder, reason_of
from rtvc.errors import RtvcError, UsageError

STANDARD_STREAM = Path("-")
"""The path that means standard input or standard output."""
OTHER_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *(
            "3gp",
            "aac",
            "ac3",
            "amr",
            "ape",
            "asf",
            "avi",
            "flv",
            "m4a",
            "m4b",
            "m4v",
            "mka",
            "mkv",
        ),
        *("mov", "mp4", "mpeg", "mpg", "oma", "ts", "tta", "webm", "wma", "wmv", "wv"),
    )
)
"""Suffixes of sound and video files that libsndfile does not read."""
_REMEDY = "Install ffmpeg, with which rtvc reads such files, or convert it to WAV or MP3."
_ROUNDING_S = 0.2
"""Difference to the stated length that the delays of encoders explain."""
_DAMAGE = re.compile(
    "ended prematurely|partial file|corrupt|Error while decoding|Error submitting packet"
    "|CRC error|Packet mismatch|Too few bits|exceeds containing master",
    re.I,
)
"""What ffmpeg prints about a file that is cut short or damaged."""
_NO_MPEG_AUDIO = frozenset(
    (
        *(b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"\x1aE\xdf\xa3"),
        *(b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\0", b"\xff\x1f\0\xe8"),
    )
)
"""Beginnings of MPEG program and video streams, FLV, Matroska and, in four byte orders, DTS."""
_NO_LENGTH = re.compile(r"Estimating duration|Duration: N/A|Input #0, (mpeg|mpegts|gsm|amr\w*),")
"""What ffmpeg prints about a file that states no length."""
_SCRATCH_HINT = "Free some space, or set TMPDIR to a folder on another disk."
_SAMPLE = 4
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file that libsndfile may read.

    Attributes
    ----------
    path
        The file.
    name
        What messages call it.
    stated_s
        Length that the original states, in seconds; 0 if unknown.
    damage
        A clause about damage that decoding the original found, or "".
    notes
        Sentences about what is not known of the original.
    """

    path: Path
    name: str
    stated_s: float = 0.0
    damage: str = ""
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def local_file(source: Path, raw_rate: int = 0) -> Iterator[LocalFile]:
    """Return a file with the sound of `source` for the block.

    Parameters
    ----------
    source
        A file, or "-" for standard input.
    raw_rate
        Sample rate of standard input if it is raw float32 samples, mono; 0 if it is a file.

    Raises
    ------
    RtvcError
        If it cannot be read or decoded.
    """
    standard = source == STANDARD_STREAM
    name = "standard input" if standard else str(source)
    if not standard and (not source.exists() or source.is_dir()):
        yield LocalFile(source, name)  # opening it gives the reason
        return
    with contextlib.ExitStack() as stack:
        path = source
        if standard or not source.is_file():
            path = stack.enter_context(scratch_folder()) / "copy"
            _copy(source, path, name)
            if standard and raw_rate:
                path = _with_header(path, raw_rate, name)
        problem = _problem(path)
        if problem is None:
            yield LocalFile(path, name)
        else:
            folder = stack.enter_context(scratch_folder())
            yield _decoded(path, folder / "decoded.wav", name, problem)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Return a folder for temporary files for the block.

    Raises
    ------
    RtvcError
        If none can be made.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="rtvc-")
    except OSError:
        raise RtvcError(f"There is no folder for temporary files. {_SCRATCH_HINT}") from None
    with folder as name:
        yield Path(name)


def _copy(source: Path, target: Path, name: str) -> None:
    try:
        with target.open("wb") as copy, contextlib.ExitStack() as stack:
            if source == STANDARD_STREAM:
                stream: BinaryIO = sys.stdin.buffer
                if sys.stdin.isatty():
                    raise UsageError(
                        "Standard input is a terminal. Send a sound file: 'rtvc convert - "
                        "out.wav < talk.wav'."
                    )
            else:
                stream = stack.enter_context(source.open("rb"))
            if _is_endless(os.fstat(stream.fileno())):
                raise RtvcError(f"Cannot read {name}: it is a device, not a sound file.")
            shutil.copyfileobj(stream, copy, _PIECE)
    except (OSError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise RtvcError(f"Cannot read {name}: {reason}.") from None
    if not target.stat().st_size:
        raise RtvcError(f"Cannot read {name}: it is empty.")


def _is_endless(facts: os.stat_result) -> bool:
    """Return whether a file is a device, such as /dev/zero, which may never end."""
    empty = os.path.samestat(facts, os.stat(os.devnull))
    return not empty and (stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode))


def _with_header(raw: Path, rate: int, name: str) -> Path:
    """Return a file of raw samples as a W64 file, whose length is unlimited."""
    size = raw.stat().st_size
    if size % _SAMPLE:
        raise RtvcError(
            f"{name} has {size} bytes, which is no whole number of float32 samples. Send mono "
            "samples of 4 bytes each."
        )
    target = raw.with_name("raw.w64")
    # As bytes: soundfile cannot encode names that are not UTF-8, such as that of TMPDIR.
    written = os.fsencode(target)
    try:
        with (
            raw.open("rb") as file,
            soundfile.SoundFile(written, "w", rate, 1, format="W64", subtype="FLOAT") as sound,
        ):
            while piece := file.read(_PIECE):
                sound.write(np.frombuffer(piece, "<f4"))
    except (soundfile.LibsndfileError, OSError) as error:
        raise RtvcError(f"Cannot read {name}: {reason_of(error)}. {_SCRATCH_HINT}") from None
    return target


def _problem(path: Path) -> str | None:
    """Return why libsndfile does not open a file that another program may decode, else None."""
    if _begins_as_other(path):
        return UNKNOWN_FORMAT
    try:
        Decoder(path).close()
    except soundfile.LibsndfileError as error:
        with path.open("rb") as file:
            head = file.read(16)
        # A text can be a playlist, which would make the decoder open other files.
        if len(head) == 16 and (head.startswith(b"#!AMR") or not _is_text(head)):
            return reason_of(error)
    except OSError:
        pass
    return None


def _begins_as_other(path: Path) -> bool:
    """Return whether a file is of a kind of which libsndfile takes parts for MPEG audio."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _NO_MPEG_AUDIO
    except OSError:
        return False  # opening it gives the reason


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _decoded(source: Path, target: Path, name: str, problem: str) -> LocalFile:
    """Return the first sound track of a file, or the file itself if it cannot be decoded.

    Raises
    ------
    RtvcError
        If it is in a format that libsndfile does not read, and cannot be decoded.
    """
    original, result = os.fsdecode(source.absolute()), os.fsdecode(target)
    if ffmpeg := shutil.which("ffmpeg"):
        command = [ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-protocol_whitelist", "file"]
        command += [
            "-err_detect",
            "crccheck",
            "-i",
            f"file:{original}",
            "-map",
            "0:a:0",
            "-c:a",
            "pcm_f32le",
        ]
        command += ["-rf64", "auto", result]
    elif afconvert := shutil.which("afconvert"):
        command = [afconvert, "-f", "WAVE", "-d", "LEF32", original, result]
    elif problem == UNKNOWN_FORMAT:
        raise RtvcError(f"Cannot read {name}: it is in no format that libsndfile reads. {_REMEDY}")
    else:
        return LocalFile(source, name)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    told = done.stderr.decode(errors="replace")
    if done.returncode < 0 or os.strerror(errno.ENOSPC) in told:
        raise RtvcError(f"{name} cannot be decoded into {target.parent.parent}. {_SCRATCH_HINT}")
    seconds = 0.0
    with contextlib.suppress(soundfile.LibsndfileError):
        seconds = soundfile.info(os.fsencode(target)).duration
    if not seconds:
        if problem != UNKNOWN_FORMAT:
            return LocalFile(source, name)
        raise RtvcError(
            f"Cannot read {name}: it is in no format that libsndfile or {Path(command[0]).name} "
            "reads, it contains no sound, or it is damaged."
        )
    damage = find_layout(source, mpeg_audio=False).damage
    if not damage and _DAMAGE.search(told):
        damage = "its end is missing or parts of it are damaged"
    notes = (NO_LENGTH,) if _NO_LENGTH.search(told) else ()
    return LocalFile(target, name, _stated_s(told, seconds), damage, notes)


def _stated_s(told: str, seconds: float) -> float:
    """Return the length that ffmpeg reports, or 0 if that is a guess or is there."""
    duration = re.search(r"Duration: (\d+):(\d+):([\d.]+)", told)
    if duration is None or "Estimating duration" in told:
        return 0.0
    hours, minutes, rest = map(float, duration.groups())
    stated = 3600 * hours + 60 * minutes + rest
    return stated if stated - seconds > _ROUNDING_S else 0.0
