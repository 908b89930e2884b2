"""Two sound files as an endpoint of the engine: what is converted has its source's length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.fifo import SampleFifo
from rtvc.audio.sound_file import SoundSink, SoundSource, format_of, supports_rate
from rtvc.stats import DeviceHealth


class FileEndpoint:
    """Reads one sound file and writes another, as fast as the engine works.

    After the source's end it gives silence for as long as the engine is late,
    and it leaves the same time out at the start of the result: that has the
    source's duration to the sample, and every sound lies where it lay.

    Parameters
    ----------
    source
        A file of any format, rate and number of channels that libsndfile reads.
    sink
        Where to write, the format by extension; None writes nothing.
    rate
        The result's samples per second; if not given the source's where the
        format can have it, else 48000.
    overwrite
        Whether an existing file may be replaced.

    Attributes
    ----------
    complete
        Whether the whole result has been written under its name.

    Raises
    ------
    UsageError
        If the format cannot have the rate asked for.
    """

    realtime = False
    wall_clock = False
    latency = (0.0, 0.0)

    def __init__(
        self,
        source: str | Path,
        sink: str | Path | None,
        *,
        rate: int | None = None,
        overwrite: bool = False,
    ) -> None:
        self._delay = 0
        self.complete = False
        self._source_path = Path(source)
        self._sink_path = Path(sink) if sink is not None else None
        self._rate = rate
        self._overwrite = overwrite
        self._source: SoundSource | None = None
        self._sink: SoundSink | None = None
        self._fifo = SampleFifo()
        self._sound = 0  # samples of the source at the engine's rate, so far
        self._given = 0
        self._written = 0

    def start(self, tick: Callable[[], None], delay: int = 0) -> None:
        """Open both files; `tick` is never called, for there are no deadlines.

        Parameters
        ----------
        tick
            See `Endpoint`.
        delay
            How late the engine's output is, in samples at `ENGINE_RATE`.

        Raises
        ------
        RtvcError
            If one cannot be opened, the source is empty, or the result exists.
        """
        self._delay = delay
        self._source = SoundSource(self._source_path)
        if self._sink_path is None:
            return
        try:
            rate = self._rate or self._source.rate
            if self._rate is None and not supports_rate(format_of(self._sink_path)[1], rate):
                rate = ENGINE_RATE
            self._rate = rate
            self._sink = SoundSink(self._sink_path, rate, overwrite=self._overwrite)
        except BaseException:
            self._source.close()
            raise

    def stop(self) -> None:
        """Finish the result if all of it was made, else remove it; safe to repeat.

        Raises
        ------
        RtvcError
            If the result cannot be given its name.
        """
        sink, self._sink = self._sink, None
        if self._source:
            self._source.close()
        if sink is None:
            return
        if not self.finished or self._written < self._sound + self._delay:
            sink.discard()
            return
        try:
            sink.write(np.empty(0, np.float32), at_most=self._frames_wanted, last=True)
        except BaseException:
            sink.discard()
            raise
        sink.finish()
        self.complete = True

    def reconnect(self) -> bool:
        """Return True: a file is never lost."""
        return True

    def wait(self, samples: int, timeout: float) -> int:
        """Return `samples`, or 0 once the source and the silence after it have been read.

        Raises
        ------
        RtvcError
            If the source is damaged.
        """
        if self.finished:
            return 0
        source = self._opened
        while self._fifo.size < samples and not source.ended:
            piece = source.read()
            self._sound += piece.size
            self._fifo.put(piece)
        if self._fifo.size < samples:
            # The last block is filled up, so that the engine only ever sees whole ones.
            self._fifo.put(np.zeros(samples - self._fifo.size, np.float32))
        return samples

    def read(self, samples: int) -> Float32:
        """Take exactly so many input samples, which must be there."""
        self._given += samples
        return self._fifo.take(samples)

    def queued(self) -> int:
        """Return 0: nothing waits."""
        return 0

    def write(self, samples: Float32) -> None:
        """Append output to the result.

        Raises
        ------
        RtvcError
            If it cannot be written.
        """
        late = min(samples.size, max(0, self._delay - self._written))
        self._written += samples.size
        if self._sink is None:
            return
        at_most = self._frames_wanted if self._opened.ended else None
        self._sink.write(samples[late:], at_most=at_most)

    def now(self) -> float:
        """Return seconds of the source that have been read."""
        return self._given / ENGINE_RATE

    @property
    def finished(self) -> bool:
        """Whether the source, and silence for the engine's delay, have been read."""
        ended = self._source is not None and self._source.ended
        return ended and self._given >= self._sound + self._delay

    @property
    def progress(self) -> float:
        """How much of the source has been read, 0 to 1."""
        if self._source is None:
            return 0.0
        unread = self._fifo.size / max(1, self._sound)
        return max(0.0, self._source.progress * (1.0 - unread)) if not self.finished else 1.0

    def health(self) -> DeviceHealth:
        """Return zeros: files neither underflow nor overflow."""
        return DeviceHealth()

    @property
    def _opened(self) -> SoundSource:
        if self._source is None:
            raise RuntimeError("the endpoint is not started")
        return self._source

    @property
    def _frames_wanted(self) -> int:
        """Frames of the result: the source's, in its own rate."""
        source = self._opened
        return round(source.frames_read * (self._rate or source.rate) / source.rate)
