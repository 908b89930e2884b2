"""One session at a time, on the devices of the moment."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, VoiceError
from rtvc.live.devices import Choice, Line, Rig
from rtvc.settings import Settings
from rtvc.stats import Stats

if TYPE_CHECKING:
    from rtvc.audio.loopback import LoopDelay
    from rtvc.audio.recording import Recording
    from rtvc.audio.tee import TappedEndpoint
    from rtvc.calibration.sizing import Sizing
    from rtvc.engine.voice import Voice
    from rtvc.session import Session


class Stage:
    """Where a session plays: opened, closed and opened again on other devices.

    `open`, `play_on`, `measure` and `close` wait and are for one thread; the rest is for any.

    Parameters
    ----------
    rig
        The devices.
    settings
        To begin with.
    find_voice
        Gives the voice of a name; by default the built-in and installed ones.
    sizing
        What is known of this machine; by default nothing.
    """

    def __init__(
        self,
        rig: Rig,
        settings: Settings,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self._rig = rig
        self._settings = settings
        self._find_voice = find_voice
        self._sizing = sizing
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._session: Session | None = None
        self._endpoint: TappedEndpoint | None = None
        self._recording: Recording | None = None
        self._told = ""
        self.names = Choice()
        """What the devices are called that were opened last."""

    # What is heard.

    @property
    def settings(self) -> Settings:
        """What was applied last."""
        return self._settings

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next block on."""
        with self._lock:
            self._settings = settings
            self._pass_on()

    def attach(self, recording: Recording | None) -> None:
        """Lead what is played to a recording, or to none."""
        with self._lock:
            self._recording = recording
            self._pass_on()

    def stats(self) -> Stats:
        """Return what the session tells; where none runs, nothing."""
        session, line = self._session, self._line
        if session is None or line is None:
            return Stats()
        stats = session.stats()
        hint = "" if stats.reason else line.hint()
        return dataclasses.replace(stats, reason=hint) if hint else stats

    def spectrum(self) -> tuple[float, ...]:
        """Return the level in dBFS of each band of what is heard now; () where nothing plays."""
        endpoint = self._endpoint
        return endpoint.spectrum() if endpoint is not None else ()

    def take_news(self) -> str:
        """Return once why the monitor is silent, "" if it is not."""
        line = self._line
        error = line.monitor.error if line is not None and line.monitor is not None else ""
        news, self._told = (error if error != self._told else ""), error
        return news

    @property
    def over(self) -> bool:
        """Whether the session has come to its end by itself."""
        session = self._session
        return session is not None and session.wait(0)

    # On which devices.

    def open(self, choice: Choice) -> str:
        """Begin on these devices; return a sentence about what could not be had, or "".

        Raises
        ------
        VoiceError
            If the voice cannot be loaded.
        RtvcError
            If they cannot be opened.
        """
        line = self._rig.open(choice)
        self.play_on(line)
        return line.note

    def play_on(self, line: Line) -> None:
        """Begin on an opened line.

        Raises
        ------
        VoiceError
            If the voice cannot be loaded.
        RtvcError
            If it does not start.
        """
        from rtvc.audio.tee import TappedEndpoint
        from rtvc.session import Session

        endpoint = TappedEndpoint(line.endpoint, line.monitor)
        session = Session(endpoint, self._settings, self._find_voice, self._sizing)
        try:
            session.start()
        except RtvcError as error:
            if session.has_voice:
                raise
            raise VoiceError(str(error)) from error
        with self._lock:
            self.names = line.names
            self._line, self._endpoint, self._session = line, endpoint, session
            # They may have changed while it started.
            self._pass_on()

    def measure(self, choice: Choice) -> LoopDelay:
        """Play chirps on these devices, and return what they really take; nothing else may play.

        Raises
        ------
        RtvcError
            If the microphone does not hear the speaker.
        """
        from rtvc.audio.loopback import measure_loop

        return measure_loop(self._rig.open(choice).endpoint)

    def close(self) -> str:
        """Fade out, close the devices, keep what was made; return a sentence about it, or ""."""
        with self._lock:
            session, line = self._session, self._line
            self._session = self._line = self._endpoint = None
        if session is None or line is None:
            return ""
        session.stop()
        return line.keep()

    def _pass_on(self) -> None:
        if self._session is None or self._endpoint is None:
            return
        self._session.apply(self._settings)
        self._endpoint.recording = self._recording
        if self._endpoint.monitor is not None:
            self._endpoint.monitor.gain_db = self._settings.monitor_gain
