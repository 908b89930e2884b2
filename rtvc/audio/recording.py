"""Record the output to a sound file while it plays."""

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
    """A recording in progress, written to its file by a background thread.

    Parameters
    ----------
    path
        The file; its extension selects the format. It appears under this name only
        when it is complete.

    Attributes
    ----------
    error
        Why the recording stopped early, "" if it did not.

    Raises
    ------
    RtvcError
        If the file already exists or cannot be created.
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
        """Duration written so far, in seconds."""
        return self._sink.frames_written / ENGINE_RATE

    def push(self, samples: Float32) -> None:
        """Add (n,) float32 at `ENGINE_RATE`; never blocks."""
        if not self._stop_requested.is_set():
            self._waiting.append(samples.copy())

    def finish(self) -> None:
        """Write the remaining samples and give the file its name.

        Raises
        ------
        RtvcError
            If the file could not be written.
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
                # Read the flag before the last pass, so that earlier samples are all written.
                ended = self._stop_requested.wait(_INTERVAL_S)
                while self._waiting:
                    self._sink.write(self._waiting.popleft())
        except RtvcError as error:
            self._stop_requested.set()
            self._sink.discard()
            self.error = str(error)
