"""Records output and input, across changes of devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.config.recording_choice import RecordingChoice
from rtvc.config.unfinished import forget_recording, note_recording, take_unfinished
from rtvc.errors import RtvcError, escaped

if TYPE_CHECKING:
    from rtvc.audio.recording import Recording


class Recorder:
    """At most one recording at a time.

    Parameters
    ----------
    attach
        Sends input and output to a recording; None detaches it.
    choice
        What is recorded, and to which files.
    """

    def __init__(
        self,
        attach: Callable[[Recording | None], None],
        choice: RecordingChoice | None = None,
    ) -> None:
        self._attach = attach
        self._choice = choice or RecordingChoice()
        self._recording: Recording | None = None

    def start(self, file: Path | None = None) -> str:
        """Start recording, and return a phrase with the files.

        Parameters
        ----------
        file
            A sound file; by default that of the choice. If it exists, a number is added to
            the name.

        Raises
        ------
        RtvcError
            If a file cannot be written, or a recording is running.
        """
        from rtvc.audio.recording import Recording

        if self._recording is not None:
            raise RtvcError(f"rtvc is already recording to {self.files}. Stop it first.")
        paths = self._choice.paths(file)
        if file is None:
            _create(next(iter(paths.values())).parent)
        recording = self._recording = Recording(paths, on_files=note_recording)
        self._attach(recording)
        return self.files

    @property
    def files(self) -> str:
        """The files being recorded, "" if there are none."""
        recording = self._recording
        return _joined(recording.paths) if recording is not None else ""

    @property
    def seconds(self) -> float | None:
        """Length of the running recording in seconds, None if there is none."""
        recording = self._recording
        return recording.seconds if recording is not None else None

    def stop(self) -> str:
        """Stop the recording, and return a message with its files; takes at most a second.

        Raises
        ------
        RtvcError
            If no recording is running, or a file could not be written.
        """
        recording = self._recording
        if recording is None:
            raise RtvcError("No recording is running.")
        self._recording = None
        self._attach(None)
        try:
            recording.finish()
        finally:
            if recording.ended:
                forget_recording()
        if not recording.seconds:
            return "The recording was stopped before there was any sound, so there is no file."
        files = _joined(recording.paths)
        return f"Saved the recording to {files}.{_missing(recording.missing_s)}"

    def take_message(self) -> str:
        """Return why the recording has ended by itself, once; "" if it has not."""
        recording = self._recording
        if recording is None or not recording.error:
            return ""
        self._recording = None
        self._attach(None)
        forget_recording()
        return recording.error


def unfinished_recordings() -> str:
    """Return a sentence about recordings of runs that were killed, once; "" if there are none."""
    paths = take_unfinished()
    if not paths:
        return ""
    files = _joined(paths)
    return (
        f"The last run ended while it was recording; the recording can be played and is in {files}."
    )


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RtvcError(
            f"The folder {folder} cannot be created: {error.strerror}. "
            "Choose another with --record-folder."
        ) from None


def _joined(paths: Iterable[Path]) -> str:
    return " and ".join(escaped(str(path)) for path in paths)


def _missing(seconds: float) -> str:
    return f" {seconds:.1f} s of it are silent, because the disk was too slow." if seconds else ""
