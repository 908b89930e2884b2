"""Record the output, the input, or both to sound files while they play."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.recording_file import RecordingError, RecordingFile, silence
from rtvc.errors import RtvcError

Side = Literal["input", "output"]

_INTERVAL_S = 0.1
_SYNC_EVERY_S = 2.0
_FINISH_S = 0.8
_LONGEST_S = 7 * 3600
"""Longest file: a WAV or AIFF file of 24 bits holds 8 hours, and then it needs a second one."""
_WAITING_S = 20.0
"""Audio that may wait for a disk that does not respond; more of it is missing."""
_PIECE = ENGINE_RATE // 4
"""Samples written at once: what a disk that becomes full costs, at most."""
_END_S = 15.0
"""Newest audio that is also kept as WAV while a file is written in pages."""


class Recording:
    """A recording in progress, written to its files by a background thread.

    Input and output have a file each: they are not the same audio at the same time, and after
    a device is lost their lengths differ.

    Parameters
    ----------
    paths
        The file of each side to record; the extensions select the formats. A number is added
        to a name that exists.
    longest_s, waiting_s
        Length in seconds at which a recording continues in another file, and of the audio
        that may wait for the disk.
    on_files
        Called with the files that a kill would leave: at first, and whenever they are others, by
        the thread that writes them.

    Attributes
    ----------
    error
        Why the recording has ended early, "" if it has not.

    Raises
    ------
    RtvcError
        If a file cannot be created.
    """

    def __init__(
        self,
        paths: Mapping[Side, Path],
        *,
        longest_s: float = _LONGEST_S,
        waiting_s: float = _WAITING_S,
        on_files: Callable[[list[Path]], object] = lambda files: None,
    ) -> None:
        self.error = ""
        self._tracks: dict[Side, _Track] = {}
        try:
            for side, path in paths.items():
                self._tracks[side] = _Track(path, longest_s, waiting_s)
        except RtvcError:
            for track in self._tracks.values():
                track.discard()
            raise
        self._on_files, self._files = on_files, list[Path]()
        self._note_files()
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rtvc recording", daemon=True)
        self._thread.start()

    @property
    def paths(self) -> list[Path]:
        """The files with sound, those written so far while it runs."""
        return [path for track in self._tracks.values() for path in track.paths]

    @property
    def seconds(self) -> float:
        """Duration written so far, in seconds."""
        return max(track.frames for track in self._tracks.values()) / ENGINE_RATE

    @property
    def missing_s(self) -> float:
        """Seconds that are silence in a file, because the disk did not respond in time."""
        return max(track.missing for track in self._tracks.values()) / ENGINE_RATE

    @property
    def ended(self) -> bool:
        """Whether nothing more is written."""
        return not self._thread.is_alive()

    def push(self, side: Side, samples: Float32) -> None:
        """Add (n,) float32 at `ENGINE_RATE`; never blocks. One thread at a time for each side."""
        track = self._tracks.get(side)
        if track is not None and not self._stop_requested.is_set():
            track.push(samples)

    def finish(self, timeout: float = _FINISH_S) -> None:
        """Write the remaining samples and complete the files; waits at most `timeout` seconds.

        Raises
        ------
        RtvcError
            If a file could not be written, or not in time. What was written stays playable.
        """
        self._stop_requested.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            files = " and ".join(str(track.file.path) for track in self._tracks.values())
            raise RtvcError(
                f"The disk does not respond: the last seconds of {files} may be missing. "
                "What was written before can be played."
            )
        if self.error:
            raise RtvcError(self.error)

    def _run(self) -> None:
        synced = time.monotonic()
        try:
            ended = False
            while not ended:
                # Read the flag before the last pass, so that earlier samples are all written.
                ended = self._stop_requested.wait(_INTERVAL_S)
                for track in self._tracks.values():
                    track.write_waiting()
                self._note_files()
                if time.monotonic() - synced >= _SYNC_EVERY_S:
                    for track in self._tracks.values():
                        track.file.sync()
                    synced = time.monotonic()
            for track in self._tracks.values():
                track.close()
        except RecordingError as error:
            self._end_early(error.reason)
        except Exception as error:
            self._end_early(f"of an unexpected {type(error).__name__}: {error}")

    def _note_files(self) -> None:
        files = [path for track in self._tracks.values() for path in track.files]
        if files != self._files:
            self._files = files
            self._on_files(files)

    def _end_early(self, reason: str) -> None:
        self._stop_requested.set()
        for track in self._tracks.values():
            track.close_after_failure()
        minutes, seconds = divmod(int(self.seconds), 60)
        if not self.seconds:
            self.error = f"Nothing was recorded, because {reason}."
            return
        kept = [path for path in self.paths if path.exists()]
        files = " and ".join(map(str, kept or self.paths))
        self.error = (
            f"The recording ended after {minutes}:{seconds:02}, because {reason}; what was "
            f"recorded is in {files}{'' if kept else ', which was moved or removed'}."
        )


class _Track:
    """The files of one side: what waits for the disk, and the file that is written."""

    def __init__(self, path: Path, longest_s: float, waiting_s: float) -> None:
        self._path = path
        self._longest = round(longest_s * ENGINE_RATE)
        self._most_waiting = round(waiting_s * ENGINE_RATE)
        self._waiting: deque[Float32 | int] = deque()
        """Pieces in order; a number is the length of a piece that is missing."""
        self._pushed = self._taken = 0
        self._gap = 0
        self._earlier = 0
        """Samples in the earlier files."""
        self.missing = 0
        self.file = RecordingFile(path)
        self.paths = [self.file.path]
        self._end: _End | None = None
        try:
            self._end = _End(self.file.path) if self.file.paged else None
        except RtvcError:
            self.file.discard()
            raise

    @property
    def files(self) -> list[Path]:
        """The files written so far, with the newest seconds of one that is written in pages."""
        return [*self.paths, *(self._end.paths if self._end else ())]

    @property
    def frames(self) -> int:
        return self._earlier + self.file.frames

    def push(self, samples: Float32) -> None:
        if self._pushed - self._taken + samples.size > self._most_waiting:
            self._gap += samples.size
            self.missing += samples.size
            return
        if self._gap:
            self._waiting.append(self._gap)
            self._gap = 0
        self._waiting.append(samples.copy())
        self._pushed += samples.size

    def write_waiting(self) -> None:
        while self._waiting:
            piece = self._waiting.popleft()
            if isinstance(piece, int):
                for at in range(0, piece, ENGINE_RATE):
                    self._write(silence(min(ENGINE_RATE, piece - at)))
                continue
            pieces, size = [piece], piece.size
            while self._waiting and size < _PIECE and not isinstance(self._waiting[0], int):
                pieces.append(self._waiting.popleft())  # type: ignore[arg-type]
                size += pieces[-1].size
            self._write(np.concatenate(pieces))
            self._taken += size

    def close(self) -> None:
        if self._gap:
            self._waiting.append(self._gap)
            self.write_waiting()
        self.file.close()
        if not self.file.frames:  # and so it was removed
            self.paths.remove(self.file.path)
        if self._end is not None:
            self._end.discard()

    def close_after_failure(self) -> None:
        """Complete what can be completed."""
        for part in (self.file, self._end):
            try:
                if part is not None:
                    part.close()
            except (RecordingError, OSError):  # nor can a file be removed from some disks
                continue
        if self._end is not None:
            self.paths += self._end.paths

    def discard(self) -> None:
        self.file.discard()
        if self._end is not None:
            self._end.discard()

    def _write(self, samples: Float32) -> None:
        if self.file.frames + samples.size > self._longest:
            self._continue_in_another_file()
        if self._end is not None:
            try:
                self._end.write(samples)
            except RtvcError:  # the folder may have another name now
                self._end.discard()  # which makes room on a full disk
                self._end = None
        self.file.write(samples)

    def _continue_in_another_file(self) -> None:
        self.file.close()
        if self._end is not None:
            self._end.discard()
        following = RecordingFile(self._path)
        self._earlier += self.file.frames
        self.file = following
        self.paths.append(self.file.path)
        self._end = _End(self.file.path) if self.file.paged else None


class _End:
    """The newest seconds of a file that is written in pages, as WAV files next to it."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.stem}-end.wav")
        self._older: RecordingFile | None = None
        self._newer = RecordingFile(self._path)

    @property
    def paths(self) -> list[Path]:
        return [file.path for file in (self._older, self._newer) if file is not None]

    def write(self, samples: Float32) -> None:
        if self._newer.frames >= _END_S * ENGINE_RATE:
            if self._older is not None:
                self._older.discard()
            self._older, self._newer = self._newer, RecordingFile(self._path)
        self._newer.write(samples)

    def close(self) -> None:
        for file in (self._older, self._newer):
            if file is not None:
                file.close()

    def discard(self) -> None:
        for file in (self._older, self._newer):
            if file is not None:
                file.discard()
