"""Find the layout of a sound file by its first bytes."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from rtvc.audio.containers import chunks, flac, mpeg, ogg
from rtvc.audio.containers.layout import Data, Layout


def find_layout(path: Path) -> Layout:
    """Return the layout of a file; a plain one if its container is not known.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    readers: dict[bytes, Callable[[Data], Layout]] = {
        b"RIFF": chunks.read_wav,
        b"RIFX": chunks.read_wav,
        b"RF64": chunks.read_wav,
        b"FORM": chunks.read_aiff,
        b"NIST": chunks.read_nist,
        b".snd": chunks.read_au,
        b"caff": chunks.read_caf,
        b"riff": chunks.read_w64,
        b"fLaC": flac.read_flac,
        b"OggS": ogg.read_ogg,
    }
    with path.open("rb") as file:
        magic = file.read(4)
        if len(magic) < 4:
            return Layout()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return readers.get(magic, mpeg.read_mpeg)(data)
            except (IndexError, struct.error):
                return Layout()  # cut within a header: libsndfile gives the reason
