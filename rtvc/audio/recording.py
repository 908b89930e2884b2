"""A sound file that is written while the sound goes on."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.sound_file import SoundSink
from rtvc.errors import RtvcError

_INTERVAL_S = 0.1


class Recording:
    """A sound file that grows while it is recorded; written by a thread of its own.

    Parameters
    ----------
    path
        Its extension says the format; it appears under its name when it is whole.

    Attributes
    ----------
    error
        Why the recording has ended by itself, "" while all is well.

    Raises
    ------
    RtvcError
        If the file exists already or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        self._sink = SoundSink(path, ENGINE_RATE)
        self._waiting: deque[Float32] = deque()
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtvc recording", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return self._sink.frames_written / ENGINE_RATE

    def push(self, samples: Float32) -> None:
        """Add samples; never waits."""
        if not self._stop_requested.is_set():
            self._waiting.append(samples.copy())

    def finish(self) -> None:
        """Write what waits, and give the file its name.

        Raises
        ------
        RtvcError
            If it could not be written.
        """
        self._stop_requested.set()
        self._thread.join()
        if self.error:
            raise RtvcError(self.error)
        self._sink.finish()

    def _run(self) -> None:
        try:
            ended = False
            while not ended:
                # Looked at before the last round, so that nothing pushed earlier is left.
                ended = self._stop_requested.wait(_INTERVAL_S)
                while self._waiting:
                    self._sink.write(self._waiting.popleft())
        except RtvcError as error:
            self._stop_requested.set()
            self._sink.discard()
            self.error = str(error)
