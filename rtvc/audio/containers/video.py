"""Containers in which ffmpeg does not notice a missing end: ASF, such as WMA, and MPEG-TS."""

from __future__ import annotations

import struct

from rtvc.audio.containers.layout import Data, Layout, bytes_missing

ASF_MAGIC, TS_MAGIC = bytes.fromhex("3026b2758e66cf11"), b"G"
_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1
"""Flag of a file that was sent while it was written: it states no size."""

_TS_PACKET = 188


def read_asf(data: Data) -> Layout:
    """Return the layout of an ASF file, by the size that it states."""
    (header,) = struct.unpack_from("<Q", data, 16)
    at = data.find(_PROPERTIES, 0, header)
    if at < 0:
        return Layout()
    (size,) = struct.unpack_from("<Q", data, at + 40)
    (flags,) = struct.unpack_from("<I", data, at + 88)
    return Layout() if flags & _BROADCAST else bytes_missing(size, len(data))


def read_ts(data: Data) -> Layout:
    """Return the layout of an MPEG transport stream, if it is one."""
    if any(data[n * _TS_PACKET] != TS_MAGIC[0] for n in (1, 2)):
        return Layout()
    cut = len(data) % _TS_PACKET
    return Layout(damage="its last packet is incomplete" if cut else "")
