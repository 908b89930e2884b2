"""What a sound file contains, from one pass over all of it before it is converted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtvc._types import Float32, Float64
from rtvc.audio.decoder import Decoder, open_decoder
from rtvc.audio.downmix import Downmix, choose_downmix
from rtvc.device_choice import ChannelChoice
from rtvc.errors import RtvcError
from rtvc.system.file_version import FileVersion, file_version

PIECE_S = 0.5
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000
_SHORTFALL_S = 0.05
"""Missing sound up to this length is the rounding of a lossy format, not a fault."""
_CLIPPED = 4.0
"""Samples beyond it, 12 dB above full scale, are clipped by the engine."""
_INTEGERS = 256.0
"""Float samples beyond it are integers that were not scaled."""
_LARGEST = 2.0**33
"""Samples beyond it are no sound: integers have at most 32 bits."""
_LOUD_SHARE = 95
_GATE_BELOW_DB = 35.0
"""Distance of the gate from the loud parts of a recording."""
_HIGHEST_GATE_DB, _LOWEST_GATE_DB = -60.0, -89.0
"""The gate of a live run, and the lowest that still closes on digital silence."""


@dataclass(frozen=True, slots=True)
class SoundInput:
    """A sound file to convert.

    Attributes
    ----------
    path
        The file.
    name
        What messages call it.
    rate
        Sample rate in Hz.
    frames
        Length that can be read, in frames.
    downmix
        How its channels become mono.
    scale
        Factor for its samples.
    loud_db
        RMS level of its loud parts, after mixing, in dBFS; -inf for digital silence.
    shortfall
        A sentence about what is missing, "" if it is whole.
    notes
        Sentences about what is done differently from what one expects.
    tags
        Title, artist and the like.
    version
        What tells the content of the file from another one, None if that is not known.
    """

    path: Path
    name: str
    rate: int
    frames: int
    downmix: Downmix
    scale: float = 1.0
    loud_db: float = -math.inf
    shortfall: str = ""
    notes: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    version: FileVersion | None = None

    @property
    def gate_db(self) -> float:
        """A gate threshold for it: that of a live run, lower for a quiet recording."""
        if not math.isfinite(self.loud_db):
            return _HIGHEST_GATE_DB
        return min(_HIGHEST_GATE_DB, max(_LOWEST_GATE_DB, self.loud_db - _GATE_BELOW_DB))


def inspect(
    path: Path,
    *,
    name: str = "",
    channel: ChannelChoice = "mix",
    stated_s: float = 0.0,
    damage: str = "",
    notes: tuple[str, ...] = (),
    report_progress: Callable[[float], None] = lambda share: None,
) -> SoundInput:
    """Read a sound file to its end and return what it contains.

    Parameters
    ----------
    path
        A regular file in a format that libsndfile reads.
    name
        What messages call it; by default its path.
    channel
        Channel to use: its number from 1, ``"loudest"``, or ``"mix"``.
    stated_s
        Length in seconds that the file is known to have, 0 if unknown.
    damage
        A clause about damage that is known, or "".
    notes
        Sentences about what is not known, which the result has too.
    report_progress
        Called with the share that has been read, 0 to 1.

    Raises
    ------
    RtvcError
        If it cannot be read, contains no samples, or ones that are NaN, infinite or far too large.
    """
    name = name or str(path)
    version = file_version(path)
    decoder = open_decoder(path, name)
    if not _LOWEST_RATE <= decoder.rate <= _HIGHEST_RATE:
        decoder.close()
        wrong = "low for a voice" if decoder.rate < _LOWEST_RATE else "high for sound"
        raise RtvcError(
            f"{name} states a sample rate of {decoder.rate} Hz, which is too {wrong}. Its header "
            "may be damaged; export it again."
        )
    products: list[Float64] = []
    peak = 0.0
    try:
        while not decoder.ended or not products:
            frames = decoder.read(max(1, round(PIECE_S * decoder.rate)))
            if not len(frames):
                break
            peak = max(peak, _checked_peak(frames, decoder, name))
            products.append(_mean_products(frames))
            report_progress(min(1.0, decoder.frames_read / max(1, decoder.stated_frames)))
    finally:
        decoder.close()
    shortfall = _shortfall(decoder, name, stated_s, damage)
    if not products:
        if shortfall:
            raise RtvcError(f"{shortfall} Copy or download it again.")
        raise RtvcError(f"{name} contains no audio; it is zero seconds long.")
    downmix = choose_downmix(channel, np.array(products), name)
    scale, scaled = _scale(peak, decoder)
    loud = np.percentile(downmix.power(np.array(products)), _LOUD_SHARE) * scale**2
    notes = (*notes, downmix.note, scaled, *decoder.layout.notes)
    return SoundInput(
        path,
        name,
        decoder.rate,
        decoder.frames_read,
        downmix,
        scale,
        10 * math.log10(loud) if loud > 0 else -math.inf,
        shortfall,
        tuple(f"{name}: {note}" for note in notes if note),
        tuple((tag, text) for tag, text in decoder.tags.items() if tag != "software"),
        version,
    )


def _mean_products(frames: Float32) -> Float64:
    """Return the mean products of all channels with one another, (channels, channels).

    A constant offset is no sound.
    """
    rows = np.ascontiguousarray((frames - frames.mean(0, dtype=np.float64)).T, np.float32)
    # Dot products: a product of matrices of these shapes is up to a thousand times slower.
    return np.array([[float(np.dot(a, b)) for a in rows] for b in rows]) / len(frames)


def _checked_peak(frames: Float32, decoder: Decoder, name: str) -> float:
    peak = float(np.abs(frames).max())
    if not math.isfinite(peak):
        bad = int(np.argmin(np.isfinite(frames).all(1)))
        at = (decoder.frames_read - len(frames) + bad) / decoder.rate
        raise RtvcError(
            f"{name} contains NaN or infinite samples, the first at "
            f"{at:.3f} s. Export the file again, or cut that part out."
        )
    if peak > _LARGEST:
        at = (
            decoder.frames_read - len(frames) + int(np.abs(frames).max(1).argmax())
        ) / decoder.rate
        raise RtvcError(
            f"{name} contains samples of up to {peak:.1g}, such as at {at:.3f} s, where full scale "
            "is 1. Export the file again, or cut that part out."
        )
    return peak


def _scale(peak: float, decoder: Decoder) -> tuple[float, str]:
    """Return the factor for samples far above full scale, and a sentence about it."""
    if peak <= _CLIPPED:
        return 1.0, ""
    if peak >= _INTEGERS:
        bits = 16 if peak <= 2.0**15 else 24 if peak <= 2.0**23 else 32
        return 2.0 ** (1 - bits), (
            f"Its samples reach {peak:.0f}: they are taken as {bits}-bit integers stored as floats."
        )
    return 1.0 / peak, (
        f"Its samples are up to {20 * math.log10(peak):.0f} dB above full scale: it is made "
        "quieter by as much."
    )


def _shortfall(decoder: Decoder, name: str, stated_s: float, damage: str) -> str:
    """Return a sentence about what the file states and does not contain, or ""."""
    layout = decoder.layout
    read_s = decoder.frames_read / decoder.rate
    stated_s = max(
        stated_s,
        decoder.stated_frames / decoder.rate,
        read_s * layout.stated,
        read_s + layout.missing_s,
    )
    clauses = [clause for clause in (layout.damage, damage) if clause]
    if decoder.damage and decoder.damage not in clauses:
        clauses.append(f"reading stopped there: {decoder.damage}")
    missing = stated_s - read_s > _SHORTFALL_S
    if not missing and not clauses:
        return ""
    read = f"{read_s:.2f} s" if read_s else "nothing"
    length = f"{read} of {stated_s:.2f} s" if missing else read
    because = f"; {'; '.join(clauses)}" if clauses else ""
    return f"{name} is cut short or damaged: {length} can be read{because}."
