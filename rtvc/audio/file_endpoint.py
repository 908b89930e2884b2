"""Two sound files as an endpoint of the engine; the result is as long as the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.level_comparison import LevelComparison
from rtvc.audio.sound_file import SoundSink, supports_rate, usual_rate
from rtvc.audio.sound_input import SoundInput
from rtvc.audio.sound_source import SoundSource
from rtvc.stats import DeviceHealth


class FileEndpoint:
    """Reads one sound file and writes another, as fast as the engine computes.

    It compensates the engine's delay: silence follows the end of the source, and the
    same number of samples is dropped at the start of the result. The result is as long
    as the source, to the sample, and aligned with it.

    Parameters
    ----------
    source
        A file of any format, sample rate and number of channels that libsndfile reads, or what
        `rtvc.audio.sound_input.inspect` returned for one.
    sink
        The file to write; its extension selects the format. None writes nothing.
    rate
        Sample rate of the result in Hz. By default the source's if the format
        supports it, else 48000.
    overwrite
        Whether to replace an existing file.
    subtype
        libsndfile's sample format of the result; by default 24 bits if possible.
    ceiling_db
        Largest true peak of the result in dBTP, at any rate.

    Attributes
    ----------
    complete
        Whether the result is complete and has its name.
    levels
        Levels of source and result, to compare them at the end.
    """

    realtime = False
    wall_clock = False
    latency = (0.0, 0.0)

    def __init__(
        self,
        source: str | Path | SoundInput,
        sink: str | Path | None,
        *,
        rate: int | None = None,
        overwrite: bool = False,
        subtype: str = "",
        ceiling_db: float = 0.0,
    ) -> None:
        self._delay = 0
        self.complete = False
        self.levels = LevelComparison()
        self._input = source if isinstance(source, SoundInput) else Path(source)
        self._sink_path = Path(sink) if sink is not None else None
        self._rate = rate
        self._overwrite = overwrite
        self._subtype = subtype
        self._ceiling_db = ceiling_db
        self._source: SoundSource | None = None
        self._sink: SoundSink | None = None
        self._fifo = SampleFifo()
        self._source_samples = 0  # read from the source, at the engine's sample rate
        self._delivered = 0
        self._progress = 0.0
        self._written = 0

    def start(self, tick: Callable[[], None], delay: int = 0) -> None:
        """Open both files.

        Parameters
        ----------
        tick
            Not used, since there are no deadlines.
        delay
            The engine's delay in samples at `ENGINE_RATE`.

        Raises
        ------
        RtvcError
            If a file cannot be opened, the source is empty, or the result exists.
        UsageError
            If the format of the result is unknown or does not support the sample rate.
        """
        self._delay = delay
        self._source = source = SoundSource(self._input)
        if self._sink_path is None:
            return
        try:
            rate = self._rate or source.rate
            if self._rate is None and not supports_rate(self._sink_path, rate):
                rate = usual_rate(self._sink_path)
            self._rate = rate
            self._sink = SoundSink(
                self._sink_path,
                rate,
                overwrite=self._overwrite,
                frames=round(source.input.frames * rate / source.rate),
                subtype=self._subtype,
                tags=source.input.tags,
                ceiling_db=self._ceiling_db,
            )
        except BaseException:
            source.close()
            raise

    def stop(self) -> None:
        """Finish the result if it is complete, else remove it; safe to repeat.

        Raises
        ------
        RtvcError
            If the result cannot be written or renamed.
        """
        sink, self._sink = self._sink, None
        if self._source:
            self._source.close()
        if sink is None:
            return
        if not self.finished or self._written < self._source_samples + self._delay:
            sink.discard()
            return
        try:
            sink.write(np.empty(0, np.float32), at_most=self._frames_wanted, last=True)
            sink.pad(self._frames_wanted)
        except BaseException:
            sink.discard()
            raise
        sink.finish()
        self.complete = True

    def reconnect(self) -> bool:
        """Return True; a file is never lost."""
        return True

    def wait(self, samples: int, timeout: float) -> int:
        """Return `samples`, or 0 when the source and the silence after it have been read.

        Raises
        ------
        RtvcError
            If the source is damaged or contains NaN or infinite samples.
        """
        if self.finished:
            return 0
        source = self._opened
        while self._fifo.size < samples and not source.ended:
            piece = source.read()
            self._source_samples += piece.size
            self._fifo.push(piece)
            self.levels.push_input(piece)
        if self._fifo.size < samples:
            # Pad the last block, so that every block is complete.
            self._fifo.push(np.zeros(samples - self._fifo.size, np.float32))
        return samples

    def read(self, samples: int) -> Float32:
        """Return the next `samples` input samples; call `wait` first."""
        self._delivered += samples
        return self._fifo.pop(samples)

    def queued(self) -> int:
        """Return 0; output is written at once."""
        return 0

    def excess_latency(self) -> int:
        """Return 0: a file has no latency."""
        return 0

    def take_missed(self) -> int:
        """Return 0: a file has no deadlines."""
        return 0

    def write(self, samples: Float32, tail: Float32 | None = None) -> None:
        """Append output to the result.

        Raises
        ------
        RtvcError
            If the file cannot be written.
        """
        dropped = min(samples.size, max(0, self._delay - self._written))
        self._written += samples.size
        self.levels.push_output(samples[dropped:])
        if self._sink is None:
            return
        at_most = self._frames_wanted if self._opened.ended else None
        self._sink.write(samples[dropped:], at_most=at_most)

    def now(self) -> float:
        """Return the time in the source, in seconds."""
        return self._delivered / ENGINE_RATE

    @property
    def finished(self) -> bool:
        """Whether the source and the silence that compensates the delay have been read."""
        ended = self._source is not None and self._source.ended
        return ended and self._delivered >= self._source_samples + self._delay

    @property
    def progress(self) -> float:
        """Fraction of the source that has been read, 0 to 1; never less than before."""
        if self._source is None:
            return 0.0
        # The engine thread reads meanwhile: a piece may be read and not be queued yet.
        unread = self._fifo.size / max(1, self._source_samples)
        share = 1.0 if self.finished else self._source.progress * (1.0 - unread)
        self._progress = max(self._progress, share)
        return self._progress

    def health(self) -> DeviceHealth:
        """Return zeros; files neither underrun nor overflow."""
        return DeviceHealth()

    @property
    def _opened(self) -> SoundSource:
        if self._source is None:
            raise RuntimeError("the endpoint is not started")
        return self._source

    @property
    def _frames_wanted(self) -> int:
        """Length of the result in frames, at its own sample rate."""
        source = self._opened
        # A file without any frame is none that other programs read.
        return max(1, round(source.frames_read * (self._rate or source.rate) / source.rate))
