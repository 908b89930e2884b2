"""MPEG audio (MP3, MP2): streams joined end to end, and lengths that are missing or wrong.

libsndfile stops at the length that the first frame states, or that it guesses from the size of
the file. Here the frames are counted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rtvc.audio.containers.layout import NO_LENGTH, Data, Forgetter, Layout, places, tag_size
from rtvc.audio.containers.pieces import Piece

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BITRATES = {  # kbit/s by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_IN_SYNC = 3
"""Consecutive frames after which bytes count as MPEG audio."""
_SEARCHED = 1 << 20
"""Bytes in which the first frame is searched, before a file counts as no MPEG audio."""
_INFO_BITRATE = 9
"""Index of a bit rate whose frames have space for the information in `_info_frame`."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame's header: what a stream does not change, and its size in bytes and samples."""

    kind: tuple[int, int, int, bool]
    size: int
    samples: int
    side: int


@dataclass(slots=True)
class _Stream:
    """Consecutive frames of one kind.

    Attributes
    ----------
    stated
        Number of frames that the information frame states, -1 if there is none.
    info
        Whether the first frame is an information frame, which has no sound.
    """

    first: _Frame
    info: bool
    stated: int = -1
    count: int = 0
    pieces: list[tuple[int, int]] = field(default_factory=list)

    @property
    def missing(self) -> int:
        return max(0, self.stated - self.count)


def read_mpeg(data: Data) -> Layout:
    """Return the layout of a file of MPEG frames; a plain one if it is none."""
    streams, gaps, cut = _scan(data)
    streams = [stream for stream in streams if stream.count]
    if sum(stream.count for stream in streams) < _IN_SYNC:
        return Layout(notes=(NO_LENGTH,) if streams or _is_free_format(data) else ())
    missing_s = sum(one.missing * one.first.samples / one.first.kind[2] for one in streams)
    # More frames than stated: the beginning of a file that is joined to a cut one was not found.
    known = all(stream.stated >= stream.count for stream in streams)
    damage = ""
    if missing_s or not known:
        damage = (
            f"{places(gaps)} damaged" if gaps else "its last frame is incomplete" if cut else ""
        )
    parts = tuple(_part(data, stream) for stream in streams)
    # Only the last stream can lack its end.
    notes = (NO_LENGTH,) if streams[-1].stated < 0 else ()
    return Layout(parts, missing_s=missing_s, damage=damage, notes=notes)


def _is_free_format(data: Data) -> bool:
    """Return whether the first frame has a bit rate that is in no table."""
    at = tag_size(data, 0)
    header = data[at : at + 4]
    if len(header) < 4:
        return False
    usual = bytes([*header[:2], header[2] | 0x10, header[3]])
    return header[2] & 0xF0 == 0 and _frame(usual, 0) is not None


def _scan(data: Data) -> tuple[list[_Stream], int, bool]:
    """Return the streams of a file, and the number of places between frames that are none.

    The last value is whether the end of the last frame is missing.
    """
    streams: list[_Stream] = []
    at, gaps, in_sync, cut = 0, 0, False, False
    forgetter = Forgetter(data)
    while at + 4 <= len(data):
        forgetter.reached(at)
        frame = _frame(data, at)
        if frame is None or (not in_sync and not _followed(data, at, frame)):
            tag = tag_size(data, at)
            following = at + tag if tag else _next_frame(data, at + 1)
            if not streams and not tag and following >= at + _SEARCHED:
                break
            if not tag and streams and following < len(data):
                gaps += 1
            at, in_sync = following, bool(tag)
            continue
        if at + frame.size > len(data):
            cut = bool(streams) and streams[-1].first.kind == frame.kind
            break
        in_sync = True
        _add(streams, data, at, frame)
        at += frame.size
    return streams, gaps, cut


def _add(streams: list[_Stream], data: Data, at: int, frame: _Frame) -> None:
    stated = _stated_frames(data, at, frame)
    if stated is not None or not streams or streams[-1].first.kind != frame.kind:
        streams.append(_Stream(frame, stated is not None, -1 if stated is None else stated))
    stream = streams[-1]
    stream.count += stated is None
    if stream.pieces and stream.pieces[-1][1] == at:
        stream.pieces[-1] = stream.pieces[-1][0], at + frame.size
    else:
        stream.pieces.append((at, at + frame.size))


def _frame(data: Data, at: int) -> _Frame | None:
    header = int.from_bytes(data[at : at + 4], "big")
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    bitrate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or not 0 < bitrate < 15 or rate == 3:
        return None
    hz = _RATES[version][rate]
    kbps = _BITRATES[version == 3, layer][bitrate]
    mono, padding = header >> 6 & 3 == 3, header >> 9 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    if layer == 1:
        size = (12_000 * kbps // hz + padding) * 4
    else:
        size = samples // 8 * 1000 * kbps // hz + padding
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame((version, layer, hz, mono), size, samples, side)


def _followed(data: Data, at: int, frame: _Frame) -> bool:
    """Return whether another frame of the kind, or the end, follows a frame."""
    after = at + frame.size
    following = _frame(data, after)
    return after == len(data) or (following is not None and following.kind == frame.kind)


def _next_frame(data: Data, at: int) -> int:
    end = at + _SEARCHED
    while (at := data.find(b"\xff", at, end)) >= 0:
        frame = _frame(data, at)
        if frame is not None and _followed(data, at, frame):
            return at
        at += 1
    return end if end < len(data) else len(data)


def _stated_frames(data: Data, at: int, frame: _Frame) -> int | None:
    """Return the length that an information frame states in frames, -1 if it states none.

    None if this is no information frame.
    """
    if frame.kind[1] != 3:
        return None
    tag = at + 4 + frame.side
    if data[tag : tag + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", data, tag + 4)
        return count if flags & 1 else -1
    if data[at + 36 : at + 40] == b"VBRI":
        return int(struct.unpack_from(">I", data, at + 36 + 14)[0])
    return None


def _part(data: Data, stream: _Stream) -> tuple[Piece, ...]:
    """Return a stream with an information frame that states its length."""
    if stream.first.kind[1] != 3 or (stream.stated >= stream.count and stream.info):
        return tuple(stream.pieces)
    start, end = stream.pieces[0]
    header = data[start : start + 4]
    if stream.info:
        start += stream.first.size
    return (_info_frame(header, stream), (start, end), *stream.pieces[1:])


def _info_frame(header: bytes, stream: _Stream) -> bytes:
    # No checksum, a bit rate with enough space, no padding.
    third = _INFO_BITRATE << 4 | header[2] & 0x0C
    changed = bytes([header[0], header[1] | 1, third, header[3]])
    frame = _frame(changed, 0)
    assert frame is not None
    info = changed + bytes(frame.side) + b"Xing" + struct.pack(">II", 1, stream.count)
    return info + bytes(frame.size - len(info))
