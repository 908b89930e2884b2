"""Find the layout of a sound file by its first bytes."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from rtvc.audio.containers import chunks, flac, headers, mpeg, ogg, video, voc
from rtvc.audio.containers.layout import Data, Layout

_READERS: tuple[tuple[bytes, Callable[[Data], Layout]], ...] = (
    (b"RIFF", chunks.read_wav),
    (b"RIFX", chunks.read_wav),
    (b"RF64", chunks.read_wav),
    (b"FORM", chunks.read_aiff),
    (b"NIST", chunks.read_nist),
    (b".snd", chunks.read_au),
    (b"caff", chunks.read_caf),
    (b"riff", chunks.read_w64),
    (b"fLaC", flac.read_flac),
    (b"OggS", ogg.read_ogg),
    (b"Creative Voice File\x1a", voc.read_voc),
    (video.ASF_MAGIC, video.read_asf),
    (video.TS_MAGIC, video.read_ts),
    (b"2BIT", headers.read_avr),
    (b"\1\4", headers.read_mpc2k),
    (b"ALawSoundFile", headers.read_wve),
    (b"Extended Instrument: ", headers.read_xi),
    (b"\0\0\0\0\1\0\0\0\1\0\0\0", headers.read_mat4),
    (b"\0\0\3\xe8\0\0\0\1\0\0\0\1", headers.read_mat4),
    (b"MATLAB 5.0", headers.read_mat5),
    (b"\xf0\x7e", headers.read_sds),
    *((bytes([0x64, 0xA3, machine, 0]), headers.read_ircam) for machine in range(1, 5)),
    *((bytes([0, machine, 0xA3, 0x64]), headers.read_ircam) for machine in range(1, 5)),
    (b" paf", headers.read_paf),
    (b"fap ", headers.read_paf),
    (b"PVF1", headers.read_pvf),
)
_SHORTEST = 4
_LONGEST = max(len(magic) for magic, _ in _READERS)


def find_layout(path: Path, *, mpeg_audio: bool = True) -> Layout:
    """Return the layout of a file; a plain one if its container is not known.

    Parameters
    ----------
    path
        A regular file.
    mpeg_audio
        Whether a file of another beginning may be MPEG audio, which can begin with anything.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST)
        if len(head) < _SHORTEST:
            return Layout()
        read = next((read for magic, read in _READERS if head.startswith(magic)), None)
        if read is None:
            if not mpeg_audio:
                return Layout()
            read = mpeg.read_mpeg
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return read(data)
            except (IndexError, struct.error):
                return Layout()  # cut within a header: libsndfile gives the reason
