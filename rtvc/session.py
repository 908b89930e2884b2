"""The one object that a front end holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from types import TracebackType

from rtvc.audio.endpoint import Endpoint
from rtvc.calibration.sizing import Sizing
from rtvc.engine.engine import Engine
from rtvc.engine.voice import Voice
from rtvc.library import open_voice
from rtvc.settings import Settings
from rtvc.stats import Stats
from rtvc.system.realtime_mode import realtime_mode


class Session:
    """One endpoint, one engine, running.

    Parameters
    ----------
    endpoint
        Where the sound comes from and goes to: a live device, a simulated one, or files.
    settings
        To begin with.
    find_voice
        Gives the voice of a name; by default the built-in and installed ones.
    sizing
        What was measured on this machine: sizes that nobody chose come from it. By default
        nothing was.

    Examples
    --------
    >>> with Session(FileEndpoint("in.wav", "out.wav"), Settings(pitch=4)) as session:
    ...     session.wait()
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings | None = None,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._engine = Engine(
            endpoint,
            settings or Settings(),
            find_voice or open_voice.find_voice,
            sizing or Sizing(),
            nullcontext if find_voice else open_voice.preload_estimator,
        )
        self._held = ExitStack()
        self._started = False

    @property
    def settings(self) -> Settings:
        """The settings that were applied last."""
        return self._engine.settings

    def start(self) -> None:
        """Load the voice, open the endpoint and begin; returns once sound flows.

        Raises
        ------
        RtvcError
            If the voice cannot be loaded or the device cannot be opened.
        """
        if self.endpoint.wall_clock:
            self._held.enter_context(realtime_mode())
        try:
            self._engine.start()
        except BaseException:
            self._held.close()
            raise
        self._started = True

    @property
    def has_voice(self) -> bool:
        """Whether a voice has been loaded: not where the start failed for want of it."""
        return self._engine.has_voice

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next block on."""
        self._engine.apply(settings)

    def stats(self) -> Stats:
        """Return what is going on; cheap enough for 30 times a second."""
        return self._engine.stats()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the source has ended or the engine is gone; return whether it has."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._engine.running:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """Fade out, play what is queued, and close the endpoint; safe to repeat."""
        if self._started:
            self._started = False
            self._engine.stop()
        self._held.close()

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
