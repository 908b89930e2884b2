"""Find the layout of a sound file by its first bytes."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from rtvc.audio.containers import chunks, flac, headers, mpeg, ogg, video, voc, wav
from rtvc.audio.containers.layout import Data, Layout, tag_size

_READERS: tuple[tuple[bytes, Callable[[Data], Layout]], ...] = (
    (b"RIFF", wav.read_wav),
    (b"RIFX", wav.read_wav),
    (b"RF64", wav.read_wav),
    (b"BW64", wav.read_wav),
    (b"FORM", chunks.read_aiff),
    (b"NIST", headers.read_nist),
    (b".snd", chunks.read_au),
    (b"dns.", chunks.read_au),
    (b"caff", chunks.read_caf),
    (b"riff", chunks.read_w64),
    (b"fLaC", flac.read_flac),
    (b"OggS", ogg.read_ogg),
    (voc.MAGIC, voc.read_voc),
    (video.ASF_MAGIC, video.read_asf),
    (video.TS_MAGIC, video.read_ts),
    (b"wvpk", video.read_wavpack),
    (b"FLV\1", video.read_flv),
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
_AFTER_TAG = {b"RIFF": wav.read_wav, b"FORM": chunks.read_aiff, b"fLaC": flac.read_flac}
"""Readers of files that can follow an ID3 tag; libsndfile skips it."""
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
        if head[4:8] == b"ftyp":
            read = video.read_mp4
        if read is None:
            read = mpeg.read_mpeg if mpeg_audio else _read_nothing
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                start = tag_size(data, 0)
                tagged = _AFTER_TAG.get(data[start : start + 4]) if start else None
                return tagged(data, start) if tagged else read(data)
            except (IndexError, ValueError, struct.error):
                return Layout()  # cut within a header: libsndfile gives the reason


def _read_nothing(_data: Data) -> Layout:
    return Layout()
