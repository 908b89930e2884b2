"""One session at a time, on the devices of the moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.errors import RtvcError, VoiceError
from rtvc.live.devices import DeviceProvider, DeviceSelection, OpenDevices
from rtvc.settings import Settings
from rtvc.stats import Stats

if TYPE_CHECKING:
    from rtvc.audio.loopback import LoopLatency
    from rtvc.audio.recording import Recording
    from rtvc.audio.tee import TeeEndpoint
    from rtvc.calibration.sizing import Sizing
    from rtvc.engine.voice import Voice
    from rtvc.session import Session


class DeviceSession:
    """Where a session plays: opened, closed and opened again on other devices.

    `open`, `play_on`, `measure` and `close` wait and are for one thread; the rest is for any.

    Parameters
    ----------
    provider
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
        provider: DeviceProvider,
        settings: Settings,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._find_voice = find_voice
        self._sizing = sizing
        self._lock = threading.Lock()
        self._opened: OpenDevices | None = None
        self._session: Session | None = None
        self._endpoint: TeeEndpoint | None = None
        self._recording: Recording | None = None
        self._told = ""
        self.names = DeviceSelection()
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
        session = self._session
        return Stats() if session is None else session.stats()

    def spectrum(self) -> tuple[float, ...]:
        """Return the level in dBFS of each band of what is heard now; () where nothing plays."""
        endpoint = self._endpoint
        return endpoint.spectrum() if endpoint is not None else ()

    def take_news(self) -> str:
        """Return once why the monitor is silent, "" if it is not."""
        opened = self._opened
        error = opened.monitor.error if opened is not None and opened.monitor is not None else ""
        news, self._told = (error if error != self._told else ""), error
        return news

    @property
    def over(self) -> bool:
        """Whether the session has come to its end by itself."""
        session = self._session
        return session is not None and session.wait(0)

    # On which devices.

    def open(self, selection: DeviceSelection) -> str:
        """Begin on these devices; return a sentence about what could not be had, or "".

        Raises
        ------
        VoiceError
            If the voice cannot be loaded.
        RtvcError
            If they cannot be opened.
        """
        opened = self._provider.open(selection)
        self.play_on(opened)
        return opened.note

    def play_on(self, opened: OpenDevices) -> None:
        """Begin on an opened line.

        Raises
        ------
        VoiceError
            If the voice cannot be loaded.
        RtvcError
            If it does not start.
        """
        from rtvc.audio.tee import TeeEndpoint
        from rtvc.session import Session

        endpoint = TeeEndpoint(opened.endpoint, opened.monitor)
        session = Session(endpoint, self._settings, self._find_voice, self._sizing, opened.hint)
        try:
            session.start()
        except RtvcError as error:
            if session.has_voice:
                raise
            raise VoiceError(str(error)) from error
        with self._lock:
            self.names = opened.names
            self._opened, self._endpoint, self._session = opened, endpoint, session
            # They may have changed while it started.
            self._pass_on()

    def measure(self, selection: DeviceSelection) -> LoopLatency:
        """Play chirps on these devices, and return what they really take; nothing else may play.

        Raises
        ------
        RtvcError
            If the microphone does not hear the speaker.
        """
        from rtvc.audio.loopback import measure_loop_latency

        return measure_loop_latency(self._provider.open(selection).endpoint)

    def close(self) -> str:
        """Fade out, close the devices, keep what was made; return a sentence about it, or ""."""
        with self._lock:
            session, opened = self._session, self._opened
            self._session = self._opened = self._endpoint = None
        if session is None or opened is None:
            return ""
        session.stop()
        return opened.keep()

    def _pass_on(self) -> None:
        if self._session is None or self._endpoint is None:
            return
        self._session.apply(self._settings)
        self._endpoint.recording = self._recording
