"""Containers with one header: AVR, MPC2K, WVE, XI, MAT4, MAT5, SDS, IRCAM, PAF and PVF.

The last three state no length: only an end within a sample can be noticed.
"""

from __future__ import annotations

import re
import struct

from rtvc.audio.containers.layout import NO_LENGTH, Data, Layout, shortfall_of
from rtvc.audio.containers.pieces import patched

_MATRIX = 14
"""MAT5's type of an element that is a matrix."""

_SDS_HEADER, _SDS_PACKET, _SDS_LENGTH_AT = 21, 127, 10


def read_avr(data: Data) -> Layout:
    """Return the layout of an AVR file."""
    stereo, bits, frames = struct.unpack_from(">hh10xI", data, 12)
    return shortfall_of(frames * (bits // 8) * (2 if stereo else 1), len(data) - 128)


def read_mpc2k(data: Data) -> Layout:
    """Return the layout of an Akai MPC 2000 file, whose samples have 16 bits."""
    stereo, frames = struct.unpack_from("<B8xI", data, 21)
    return shortfall_of(2 * frames * (2 if stereo else 1), len(data) - 42)


def read_wve(data: Data) -> Layout:
    """Return the layout of a Psion file, whose samples have 8 bits."""
    return shortfall_of(int(struct.unpack_from(">I", data, 18)[0]), len(data) - 32)


def read_xi(data: Data) -> Layout:
    """Return the layout of a FastTracker instrument; libsndfile writes no length into it."""
    (size,) = struct.unpack_from("<I", data, 298)
    available = len(data) - 338
    return shortfall_of(size, available) if size else _unstated(available, 1)


def read_sds(data: Data) -> Layout:
    """Return the layout of a MIDI sample dump; libsndfile reads no cut one."""
    low, middle, high = data[_SDS_LENGTH_AT : _SDS_LENGTH_AT + 3]  # 7 bits each
    stated = low | middle << 7 | high << 14
    packets = (len(data) - _SDS_HEADER) // _SDS_PACKET
    frames = packets * (120 // (2 if data[6] < 15 else 3 if data[6] < 22 else 4))
    if frames >= stated or not frames:
        return Layout()
    fixed = bytes([frames & 127, frames >> 7 & 127, frames >> 14])
    end = _SDS_HEADER + packets * _SDS_PACKET
    return Layout((patched(0, end, {_SDS_LENGTH_AT: fixed}),), stated=stated / frames)


def read_mat4(data: Data) -> Layout:
    """Return the layout of a MATLAB 4 file: a matrix with the sample rate, one with the sound."""
    order = "<" if data[:4] == bytes(4) else ">"
    at = 0
    for _ in range(2):
        kind, rows, columns, _, name = struct.unpack_from(f"{order}5I", data, at)
        size = rows * columns * (8, 4, 4, 2, 2, 1)[kind // 10 % 10]
        at += 20 + name + size
    return shortfall_of(size, len(data) - at + size)


def read_mat5(data: Data) -> Layout:
    """Return the layout of a MATLAB 5 file; the last element of the last matrix is the sound."""
    order = "<" if data[126:128] == b"IM" else ">"
    layout, at = Layout(), 128
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind == _MATRIX:
            layout = _last_element(data, order, at + 8, at + 8 + size)
        at += 8 + size
    return layout


def _last_element(data: Data, order: str, at: int, end: int) -> Layout:
    """Return the layout by the last of the elements between two positions."""
    size = begin = 0
    while at + 8 <= min(end, len(data)):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        begin = at + 8
        if kind >> 16:  # a small element: its size is part of the type, its content that of the tag
            size, begin = 0, at + 8
        at = begin + size + -size % 8
    return shortfall_of(size, len(data) - begin)


def read_ircam(data: Data) -> Layout:
    """Return the layout of an IRCAM file."""
    order = "<" if data[0] == 0x64 else ">"
    channels, encoding = struct.unpack_from(f"{order}II", data, 8)
    return _unstated(len(data) - 1024, channels * (encoding & 15))


def read_paf(data: Data) -> Layout:
    """Return the layout of an Ensoniq PARIS file; its 24-bit samples come in blocks of ten."""
    order = ">" if data[:4] == b" paf" else "<"
    kind, channels = struct.unpack_from(f"{order}II", data, 16)
    return _unstated(len(data) - 2048, channels * {0: 2, 1: 32, 2: 1}.get(kind, 0))


def read_pvf(data: Data) -> Layout:
    """Return the layout of a portable voice file, whose header is text."""
    found = re.match(rb"PVF1\s+(\d+) +\d+ +(\d+)\n", data[:64])
    if found is None:
        return Layout()
    return _unstated(len(data) - found.end(), int(found[1]) * (int(found[2]) // 8))


def _unstated(available: int, frame: int) -> Layout:
    """Return the layout of samples without a stated length, in frames of `frame` bytes."""
    cut = frame > 0 and available % frame
    return Layout(damage="it ends within a sample" if cut else "", notes=(NO_LENGTH,))
