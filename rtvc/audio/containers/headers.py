"""Containers with one header: AVR, MPC2K, WVE, NIST, XI, MAT4, MAT5, SDS, IRCAM, PAF and PVF.

Of most of them libsndfile reads all that follows the header as sound. The last three state no
length: only an end within a sample can be noticed.
"""

from __future__ import annotations

import re
import struct

from rtvc.audio.containers.joined import OneFile, read_joined, up_to_its_end
from rtvc.audio.containers.layout import NO_LENGTH, Data, Layout, shortfall_of
from rtvc.audio.containers.pieces import patched

_MAT5, _MATRIX = b"MATLAB 5.0", 14
"""How a MAT5 file begins, and its type of an element that is a matrix."""

_SDS_HEADER, _SDS_PACKET, _SDS_LENGTH_AT = 21, 127, 10


def read_avr(data: Data) -> Layout:
    """Return the layout of AVR files, joined end to end."""

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 4] != b"2BIT":
            return None
        stereo, bits, frames = struct.unpack_from(">hh10xI", data, start + 12)
        size = frames * (bits // 8) * (2 if stereo else 1)
        return up_to_its_end(data, start, start + 128, size, b"2BIT")

    return read_joined(data, 0, read)


def read_mpc2k(data: Data) -> Layout:
    """Return the layout of Akai MPC 2000 files, whose samples have 16 bits, joined end to end."""

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 2] != b"\1\4":
            return None
        stereo, frames = struct.unpack_from("<B8xI", data, start + 21)
        size = 2 * frames * (2 if stereo else 1)
        return up_to_its_end(data, start, start + 42, size, data[:19])

    return read_joined(data, 0, read)


def read_wve(data: Data) -> Layout:
    """Return the layout of Psion files, whose samples have 8 bits, joined end to end."""

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 13] != b"ALawSoundFile":
            return None
        (size,) = struct.unpack_from(">I", data, start + 18)
        return up_to_its_end(data, start, start + 32, int(size), b"ALawSoundFile")

    return read_joined(data, 0, read)


def read_nist(data: Data) -> Layout:
    """Return the layout of NIST SPHERE files, whose header is text, joined end to end."""

    def read(data: Data, start: int) -> OneFile | None:
        header = data[start : start + 1024]
        if header[:4] != b"NIST":
            return None
        found = re.findall(rb"(sample\w*|channel_count) -(?:i|s1) (\d+)", header)
        values = {name.decode(): int(number) for name, number in found}
        size = values.get("sample_count", 0) * values.get("sample_n_bytes", 0)
        size *= values.get("channel_count", 1)
        return up_to_its_end(data, start, start + 1024, size, b"NIST_1A")

    return read_joined(data, 0, read)


def read_xi(data: Data) -> Layout:
    """Return the layout of a FastTracker instrument; libsndfile writes no length into it."""
    (size,) = struct.unpack_from("<I", data, 298)
    return shortfall_of(size, len(data) - 338) if size else _unstated(data, 338, 21, 1)


def read_sds(data: Data) -> Layout:
    """Return the layout of MIDI sample dumps, joined end to end; libsndfile reads no cut one."""

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 2] != b"\xf0\x7e":
            return None
        at = start + _SDS_LENGTH_AT
        low, middle, high = data[at : at + 3]  # 7 bits each
        stated = low | middle << 7 | high << 14
        bits = data[start + 6]
        in_packet = 120 // (2 if bits < 15 else 3 if bits < 22 else 4)
        there = (len(data) - start - _SDS_HEADER) // _SDS_PACKET
        stated_packets = -(-stated // in_packet)
        packets = min(there, stated_packets)
        frames = min(stated, packets * in_packet)
        end = start + _SDS_HEADER + packets * _SDS_PACKET
        if frames == stated:
            return OneFile(((start, end),), end, stated, stated)
        fixed = bytes([frames & 127, frames >> 7 & 127, frames >> 14])
        if frames:
            # Scaled: a few samples that are missing are no padding.
            sizes = stated * _SDS_PACKET, frames * _SDS_PACKET
        else:
            sizes = stated_packets * _SDS_PACKET, 0
        return OneFile(patched(start, end, {at: fixed}), len(data), *sizes)

    return read_joined(data, 0, read)


def read_mat4(data: Data) -> Layout:
    """Return the layout of MATLAB 4 files, joined end to end.

    Each is a matrix with the sample rate, and one with the sound.
    """
    magic = data[:12]
    order = "<" if magic[:4] == bytes(4) else ">"

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 12] != magic:
            return None
        at = start
        for _ in range(2):
            kind, rows, columns, _, name = struct.unpack_from(f"{order}5I", data, at)
            size = rows * columns * (8, 4, 4, 2, 2, 1)[kind // 10 % 10]
            at += 20 + name + size
        return up_to_its_end(data, start, at - size, size, magic)

    return read_joined(data, 0, read)


def read_mat5(data: Data) -> Layout:
    """Return the layout of MATLAB 5 files, joined end to end.

    The last element of the last matrix is the sound.
    """

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + 10] != _MAT5:
            return None
        following = data.find(_MAT5, start + 128)
        end = len(data) if following < 0 else following
        order = "<" if data[start + 126 : start + 128] == b"IM" else ">"
        sound, at = (0, 0), start + 128
        while at + 8 <= end:
            kind, size = struct.unpack_from(f"{order}II", data, at)
            if kind == _MATRIX:
                sound = _last_element(data, order, at + 8, min(end, at + 8 + size))
            at += 8 + size
        return up_to_its_end(data, start, *sound, _MAT5) if sound[0] else None

    return read_joined(data, 0, read)


def _last_element(data: Data, order: str, at: int, end: int) -> tuple[int, int]:
    """Return where the last of the elements between two positions begins, and its size."""
    size = begin = 0
    while at + 8 < end:  # libsndfile states a matrix to be 8 bytes longer than it is
        kind, size = struct.unpack_from(f"{order}II", data, at)
        begin = at + 8
        if kind >> 16:  # a small element: its size is part of the type, its content that of the tag
            size, begin = 0, at + 8
        at = begin + size + -size % 8
    return begin, size


def read_ircam(data: Data) -> Layout:
    """Return the layout of an IRCAM file."""
    order = "<" if data[0] == 0x64 else ">"
    channels, encoding = struct.unpack_from(f"{order}II", data, 8)
    return _unstated(data, 1024, 16, channels * (encoding & 15))


def read_paf(data: Data) -> Layout:
    """Return the layout of an Ensoniq PARIS file; its 24-bit samples come in blocks of ten."""
    order = ">" if data[:4] == b" paf" else "<"
    kind, channels = struct.unpack_from(f"{order}II", data, 16)
    return _unstated(data, 2048, 24, channels * {0: 2, 1: 32, 2: 1}.get(kind, 0))


def read_pvf(data: Data) -> Layout:
    """Return the layout of a portable voice file, whose header is text."""
    found = re.match(rb"PVF1\s+(\d+) +\d+ +(\d+)\n", data[:64])
    if found is None:
        return Layout()
    return _unstated(data, found.end(), found.end(), int(found[1]) * (int(found[2]) // 8))


def _unstated(data: Data, header: int, same: int, frame: int) -> Layout:
    """Return the layout of files without a stated length, joined end to end.

    Parameters
    ----------
    data
        The whole file.
    header
        Size of the header in bytes.
    same
        Bytes at its beginning that the headers of all files share.
    frame
        Size of a frame in bytes, 0 if unknown.
    """
    magic = data[:same]

    def read(data: Data, start: int) -> OneFile | None:
        if data[start : start + same] != magic:
            return None
        found = data.find(magic, start + header)
        end = len(data) if found < 0 else found
        available = end - start - header
        cut = frame > 0 and available % frame
        damage = "it ends within a sample" if cut else ""
        return OneFile(((start, end),), end, available, available, (NO_LENGTH,), damage)

    return read_joined(data, 0, read)
