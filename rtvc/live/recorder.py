"""Records the output, across changes of devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.config.paths import unused_path
from rtvc.errors import RtvcError

if TYPE_CHECKING:
    from rtvc.audio.recording import Recording

FILE = Path("rtvc-recording.wav")


class Recorder:
    """At most one recording at a time.

    Parameters
    ----------
    attach
        Sends the output to a recording; None detaches it.
    """

    def __init__(self, attach: Callable[[Recording | None], None]) -> None:
        self._attach = attach
        self._recording: Recording | None = None

    def start(self, path: Path | None = None) -> Path:
        """Start recording the output, and return the path of the file.

        Parameters
        ----------
        path
            A sound file that does not exist yet; by default one in the current folder.

        Raises
        ------
        RtvcError
            If the file cannot be written, or a recording is running.
        """
        from rtvc.audio.recording import Recording

        if self._recording is not None:
            raise RtvcError(f"rtvc is already recording to {self._recording.path}. Stop it first.")
        self._recording = Recording(path or unused_path(FILE.absolute()))
        self._attach(self._recording)
        return self._recording.path

    @property
    def path(self) -> Path | None:
        """The file being recorded, None if there is none."""
        recording = self._recording
        return recording.path if recording is not None else None

    @property
    def seconds(self) -> float | None:
        """Length of the running recording in seconds, None if there is none."""
        recording = self._recording
        return recording.seconds if recording is not None else None

    def stop(self) -> Path:
        """Stop the recording, and return the path of its file.

        Raises
        ------
        RtvcError
            If no recording is running, or the file could not be written.
        """
        recording, self._recording = self._recording, None
        if recording is None:
            raise RtvcError("No recording is running.")
        self._attach(None)
        recording.finish()
        return recording.path

    def take_message(self) -> str:
        """Return why the recording has ended by itself, once; "" if it has not."""
        recording = self._recording
        if recording is None or not recording.error:
            return ""
        self._recording = None
        return f"The recording has stopped. {recording.error}"
