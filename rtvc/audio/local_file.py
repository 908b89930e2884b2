"""Any input as a regular file that libsndfile reads: pipes are copied, other formats decoded.

m4a, mp4, webm and the like are decoded by ffmpeg, or by afconvert, which is part of macOS.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from rtvc.audio.decoder import UNKNOWN_FORMAT, Decoder
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
    """

    path: Path
    name: str
    stated_s: float = 0.0


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
    with tempfile.TemporaryDirectory(prefix="rtvc-") as folder:
        path = source
        if standard or not source.is_file():
            path = Path(folder) / "copy"
            _copy(source, path, name)
            if standard and raw_rate:
                path = _with_header(path, raw_rate, name)
        if not _needs_decoding(path):
            yield LocalFile(path, name)
            return
        decoded = Path(folder) / "decoded.wav"
        yield LocalFile(decoded, name, _decode(path, decoded, name))


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
            shutil.copyfileobj(stream, copy, _PIECE)
    except (OSError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise RtvcError(f"Cannot read {name}: {reason}.") from None
    if not target.stat().st_size:
        raise RtvcError(f"Cannot read {name}: it is empty.")


def _with_header(raw: Path, rate: int, name: str) -> Path:
    """Return a file of raw samples as a W64 file, whose length is unlimited."""
    size = raw.stat().st_size
    if size % _SAMPLE:
        raise RtvcError(
            f"{name} has {size} bytes, which is no whole number of float32 samples. Send mono "
            "samples of 4 bytes each."
        )
    target = raw.with_name("raw.w64")
    with (
        raw.open("rb") as file,
        soundfile.SoundFile(target, "w", rate, 1, format="W64", subtype="FLOAT") as sound,
    ):
        while piece := file.read(_PIECE):
            sound.write(np.frombuffer(piece, "<f4"))
    return target


def _needs_decoding(path: Path) -> bool:
    try:
        Decoder(path).close()
    except soundfile.LibsndfileError as error:
        if error.error_string != UNKNOWN_FORMAT and path.suffix.lower() not in OTHER_SUFFIXES:
            return False
        with path.open("rb") as file:
            head = file.read(16)
        # A text can be a playlist, which would make the decoder open other files.
        return len(head) == 16 and (head.startswith(b"#!AMR") or not _is_text(head))
    except OSError:
        pass
    return False


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _decode(source: Path, target: Path, name: str) -> float:
    """Decode the first sound track, and return the length in seconds that the file states."""
    original, result = os.fsdecode(source.absolute()), os.fsdecode(target)
    if ffmpeg := shutil.which("ffmpeg"):
        command = [ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-protocol_whitelist", "file"]
        command += ["-i", f"file:{original}", "-map", "0:a:0", "-c:a", "pcm_f32le"]
        command += ["-rf64", "auto", result]
    elif afconvert := shutil.which("afconvert"):
        command = [afconvert, "-f", "WAVE", "-d", "LEF32", original, result]
    else:
        raise RtvcError(f"Cannot read {name}: it is in no format that libsndfile reads. {_REMEDY}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    if not target.is_file() or (done.returncode and not target.stat().st_size):
        tool = Path(command[0]).name
        raise RtvcError(
            f"Cannot read {name}: it is in no format that libsndfile or {tool} reads, it contains "
            "no sound, or it is damaged."
        )
    duration = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)
    if duration is None or "Estimating duration" in said:
        return 0.0
    hours, minutes, seconds = map(float, duration.groups())
    stated = 3600 * hours + 60 * minutes + seconds
    return stated if stated - soundfile.info(target).duration > _ROUNDING_S else 0.0
