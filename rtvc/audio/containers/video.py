"""Containers of ffmpeg: missing ends, and joined files, of which it does not read the second."""

from __future__ import annotations

import struct

from rtvc.audio.containers.layout import Data, Layout, bytes_missing, tag_size

ASF_MAGIC, TS_MAGIC = bytes.fromhex("3026b2758e66cf11"), b"G"
_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1
"""Flag of a file that was sent while it was written: it states no size."""

_TS_PACKET = 188
_INITIAL = 0x800
"""Flag of a WavPack block with the first channels."""
_ANOTHER = Layout(damage="another file follows in it, which is not read")


def read_asf(data: Data) -> Layout:
    """Return the layout of an ASF file, by the size that it states."""
    (header,) = struct.unpack_from("<Q", data, 16)
    at = data.find(_PROPERTIES, 0, header)
    if at < 0:
        return Layout()
    (size,) = struct.unpack_from("<Q", data, at + 40)
    (flags,) = struct.unpack_from("<I", data, at + 88)
    if flags & _BROADCAST:
        return Layout()
    return _ANOTHER if data[size : size + 8] == ASF_MAGIC else bytes_missing(size, len(data))


def read_ts(data: Data) -> Layout:
    """Return the layout of an MPEG transport stream, if it is one."""
    if any(data[n * _TS_PACKET] != TS_MAGIC[0] for n in (1, 2)):
        return Layout()
    cut = len(data) % _TS_PACKET
    return Layout(damage="its last packet is incomplete" if cut else "")


def read_mp4(data: Data) -> Layout:
    """Return the layout of a file of ISO's base media format: MP4, M4A, MOV, 3GP."""
    at = 0
    while at + 16 <= len(data):
        size, name, large = struct.unpack_from(">I4sQ", data, at)
        if name == b"ftyp" and at:
            return _ANOTHER
        if size == 0:  # up to the end
            break
        at += max(8, large if size == 1 else size)
    return Layout()


def read_wavpack(data: Data) -> Layout:
    """Return the layout of a WavPack file, whose first block has the index 0."""
    at = 0
    while at + 32 <= len(data):
        if tag := tag_size(data, at):
            at += tag
            continue
        name, size, index, flags = struct.unpack_from("<4sI8xI4xI", data, at)
        if name != b"wvpk":
            break
        if at and index == 0 and flags & _INITIAL:
            return _ANOTHER
        at += 8 + size
    return Layout()


def read_flv(data: Data) -> Layout:
    """Return the layout of an FLV file."""
    return _ANOTHER if data.find(data[:9], 9) > 0 else Layout()
