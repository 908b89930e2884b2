"""All that a panel holds: one session at a time, its devices, and what is remembered of them."""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from rtvc.config import Choices, save_choices, unused_path
from rtvc.errors import RtvcError
from rtvc.rig import Devices, Rig
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.undo import History

if TYPE_CHECKING:
    from rtvc.audio.tap import Recording, TappedEndpoint
    from rtvc.engine.voice import Voice
    from rtvc.session import Session
    from rtvc.sizing import Sizing

RECORDING = Path("rtvc-recording.wav")
_ALL_EVERY = 10
"""Times to tidy up among which one is thorough: what the panel has drawn outlives the others."""


class Studio:
    """A session whose devices can be exchanged while the program goes on.

    Whatever waits (opening, closing, looking for devices) is done one after the
    other on a thread of its own; no method but `close` waits for it. What went
    wrong there is told once by `take_news`.

    Parameters
    ----------
    rig
        The devices.
    choices
        What to begin with.
    find_voice
        Gives the voice of a name; by default the built-in and installed ones.
    sizing
        What is known of this machine; by default nothing.
    remember
        Whether devices and settings are kept for the next run.
    """

    def __init__(
        self,
        rig: Rig,
        choices: Choices,
        *,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
        remember: bool = True,
    ) -> None:
        self._rig = rig
        self._find_voice = find_voice
        self._sizing = sizing
        self._remember = remember
        self._wanted = choices.input, choices.output
        self._names = "", ""
        self._settings = choices.settings
        self._first = choices
        self._saved: Choices | None = None
        self._history = History()
        self._session: Session | None = None
        self._endpoint: TappedEndpoint | None = None
        self._hint: Callable[[], str] = lambda: ""
        self._recording: Recording | None = None
        self._doing = "Starting."
        self._failure = ""
        self._news = ""
        self._devices = Devices()
        self._scanning = False
        self._closed = False
        self._tidied = 0
        self._lock = threading.Lock()
        self._hand = ThreadPoolExecutor(1, "rtvc studio")
        self._scanner = ThreadPoolExecutor(1, "rtvc devices")

    # The sound.

    def start(self) -> None:
        """Open the devices and begin, in the background."""
        self._hand.submit(self._open, self._wanted)

    @property
    def settings(self) -> Settings:
        """What was applied last."""
        return self._settings

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next block on; `undo` takes it back."""
        self._history.note(self._settings, settings)
        self._set(settings)

    def undo(self) -> bool:
        """Go back one change, mode excepted; return whether there was one."""
        return self._go(self._history.undo(self._settings))

    def redo(self) -> bool:
        """Take the last undo back; return whether there was one."""
        return self._go(self._history.redo(self._settings))

    def stats(self) -> Stats:
        """Return what is going on, as `Session.stats` does, also while no session runs."""
        session = self._session
        stats = session.stats() if session is not None else Stats()
        if self._doing:
            return dataclasses.replace(stats, state=State.STARTING, reason=self._doing)
        if session is None:
            return dataclasses.replace(stats, state=State.DEVICE_LOST, reason=self._failure)
        if not stats.reason and (hint := self._hint()):
            return dataclasses.replace(stats, reason=hint)
        return stats

    def voices(self) -> dict[str, str]:
        """Return the voices that ``Settings.voice`` can name, each with a sentence about it."""
        from rtvc.engine.voices import list_voices

        return list_voices()

    # The devices.

    @property
    def wanted(self) -> tuple[str, str]:
        """The chosen microphone and speaker by name; "" is the system's default."""
        return self._wanted

    @property
    def names(self) -> tuple[str, str]:
        """The microphone and the speaker in use, "" before the first start."""
        return self._names

    @property
    def devices(self) -> Devices:
        """What the last `rescan` found."""
        return self._devices

    def rescan(self) -> None:
        """Look for devices, in the background; nothing happens while it is being done."""
        if not (self._scanning or self._closed):
            self._scanning = True
            self._scanner.submit(self._scan)

    def use(self, input: str, output: str) -> None:
        """Exchange the devices, in the background; the old ones come back if that fails."""
        if self._closed:
            return
        self._doing = "Changing the devices."
        self._hand.submit(self._exchange, (input, output))

    # The recording.

    def record(self, path: Path | None = None) -> Path:
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
        from rtvc.audio.tap import Recording

        if self._recording is not None:
            raise RtvcError(f"{self._recording.path} is being recorded already; stop it first.")
        self._recording = Recording(path or unused_path(RECORDING.absolute()))
        if self._endpoint is not None:
            self._endpoint.recording = self._recording
        return self._recording.path

    @property
    def recording(self) -> Path | None:
        """The file that is being recorded, None if there is none."""
        recording = self._recording
        return recording.path if recording is not None else None

    @property
    def recorded_s(self) -> float | None:
        """Length of the recording that runs, in seconds; None if there is none."""
        recording = self._recording
        return recording.seconds if recording is not None else None

    def finish_recording(self) -> Path:
        """End the recording, and return its file.

        Raises
        ------
        RtvcError
            If none runs, or it could not be written.
        """
        recording, self._recording = self._recording, None
        if recording is None:
            raise RtvcError("Nothing is being recorded.")
        if self._endpoint is not None:
            self._endpoint.recording = None
        recording.finish()
        return recording.path

    # The course of things.

    def take_news(self) -> str:
        """Return what went wrong in the background since the last call, "" if nothing did."""
        with self._lock:
            news, self._news = self._news, ""
        recording = self._recording
        if recording is not None and recording.error:
            self._recording = None
            return f"The recording has ended. {recording.error}"
        return news

    def tidy(self) -> None:
        """Free memory and remember the choices; to be called every few seconds.

        While a session runs nothing else collects garbage: to look at everything would
        stop every thread for long. What was there at its start is left out; of the rest
        the young take about a millisecond, and all of it, now and then, a few.
        """
        self._tidied += 1
        gc.collect(2 if self._tidied % _ALL_EVERY == 0 else 1)
        if not (self._doing or self._closed):
            self._hand.submit(self._save)

    def close(self) -> None:
        """Fade out, close the devices, keep recording and choices; waits; safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self._hand.submit(self._end).result()
        self._hand.shutdown()
        self._scanner.shutdown(wait=False, cancel_futures=True)

    def _set(self, settings: Settings) -> None:
        with self._lock:
            self._settings = settings
            if self._session is not None:
                self._session.apply(settings)

    def _go(self, settings: Settings | None) -> bool:
        if settings is not None:
            self._set(settings)
        return settings is not None

    # On the background threads.

    def _open(self, wanted: tuple[str, str]) -> bool:
        from rtvc.audio.tap import TappedEndpoint
        from rtvc.engine.voices import find_voice
        from rtvc.session import Session

        try:
            line = self._rig.open(*wanted)
            endpoint = TappedEndpoint(line.endpoint)
            voices = self._find_voice or find_voice
            session = Session(endpoint, self._settings, voices, self._sizing)
            session.start()
        except RtvcError as error:
            self._failure = str(error)
            self._doing = ""
            return False
        except Exception as error:
            self._failure = f"An unexpected {type(error).__name__}: {error}."
            self._doing = ""
            return False
        with self._lock:
            self._wanted, self._names = wanted, (line.input, line.output)
            endpoint.recording = self._recording
            self._hint = line.hint
            self._endpoint, self._session = endpoint, session
            session.apply(self._settings)
        self._doing = ""
        return True

    def _exchange(self, wanted: tuple[str, str]) -> None:
        before = self._wanted if self._session is not None else None
        self._shut()
        if self._open(wanted):
            self._save()
            return
        failure = self._failure
        if before is not None and before != wanted:
            self._doing = "Going back to the devices before."
            if self._open(before):
                self._tell(f"{_sentence(failure)} The devices before are in use.")

    def _shut(self) -> None:
        with self._lock:
            session, self._session, self._endpoint = self._session, None, None
            self._hint = lambda: ""
        if session is not None:
            session.stop()

    def _scan(self) -> None:
        try:
            self._devices = self._rig.scan()
        except RtvcError as error:
            self._tell(str(error))
        finally:
            self._scanning = False

    def _save(self) -> None:
        microphone, speaker = self._wanted
        settings = self._settings.replace(mode="converted")
        choices = dataclasses.replace(
            self._first, input=microphone, output=speaker, settings=settings
        )
        if not self._remember or choices == self._saved:
            return
        self._saved = choices
        try:
            save_choices(choices)
        except RtvcError as error:
            self._tell(f"The settings are not remembered: {error}")

    def _end(self) -> None:
        self._doing = "Fading out."
        self._shut()
        self._save()
        if self._recording is not None:
            try:
                self.finish_recording()
            except RtvcError as error:
                self._tell(str(error))

    def _tell(self, news: str) -> None:
        with self._lock:
            self._news = news


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!")) else f"{text}."
