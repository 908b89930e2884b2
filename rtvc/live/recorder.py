"""Recording what is played, on whatever devices that is."""

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
        Leads what is played to a recording, or with None to nothing any more.
    """

    def __init__(self, attach: Callable[[Recording | None], None]) -> None:
        self._attach = attach
        self._recording: Recording | None = None

    def begin(self, path: Path | None = None) -> Path:
        """Record what is played, and return the file that it goes to.

        Parameters
        ----------
        path
            A sound file that does not exist yet; by default one in the current folder.

        Raises
        ------
        RtvcError
            If it cannot be written, or a recording runs already.
        """
        from rtvc.audio.recording import Recording

        if self._recording is not None:
            raise RtvcError(f"{self._recording.path} is being recorded already; stop it first.")
        self._recording = Recording(path or unused_path(FILE.absolute()))
        self._attach(self._recording)
        return self._recording.path

    @property
    def path(self) -> Path | None:
        """The file that is being recorded, None if there is none."""
        recording = self._recording
        return recording.path if recording is not None else None

    @property
    def seconds(self) -> float | None:
        """Length of the recording that runs; None if there is none."""
        recording = self._recording
        return recording.seconds if recording is not None else None

    def finish(self) -> Path:
        """End the recording, and return its file.

        Raises
        ------
        RtvcError
            If none runs, or it could not be written.
        """
        recording, self._recording = self._recording, None
        if recording is None:
            raise RtvcError("Nothing is being recorded.")
        self._attach(None)
        recording.finish()
        return recording.path

    def take_news(self) -> str:
        """Return once why the recording has ended by itself, "" if it has not."""
        recording = self._recording
        if recording is None or not recording.error:
            return ""
        self._recording = None
        return f"The recording has ended. {recording.error}"
