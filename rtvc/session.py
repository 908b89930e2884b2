"""The one object that a front end holds."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rtvc.audio.endpoint import Endpoint
from rtvc.engine.engine import Engine
from rtvc.engine.voice import Voice
from rtvc.engine.voices import find_voice as find_installed_voice
from rtvc.precedence import Precedence
from rtvc.settings import Settings
from rtvc.stats import Stats

SWITCH_INTERVAL_S = 0.00005
"""How long a thread may keep the interpreter from the engine; Python's default is 5 ms.

A step takes the lock back some fifty times, each time after so long if another thread computes."""


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

    Examples
    --------
    >>> with Session(FileEndpoint("in.wav", "out.wav"), Settings(pitch=4)) as session:
    ...     session.wait()
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings | None = None,
        find_voice: Callable[[str], Voice] = find_installed_voice,
    ) -> None:
        self.endpoint = endpoint
        self._engine = Engine(endpoint, settings or Settings(), find_voice)
        self._before: tuple[float, bool, Precedence] | None = None
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
            # A full collection stops every thread for 100 ms; what is alive now stays alive.
            self._before = sys.getswitchinterval(), gc.isenabled(), Precedence()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            gc.collect()
            gc.freeze()
            gc.disable()
        try:
            self._engine.start()
        except BaseException:
            self._restore()
            raise
        self._started = True

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next block on."""
        self._engine.apply(settings)

    def stats(self) -> Stats:
        """Return what is going on; cheap enough for 30 times a second."""
        return self._engine.stats()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the source has ended or the engine is gone; return whether it has."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._engine.working:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """Fade out, play what is queued, and close the endpoint; safe to repeat."""
        if self._started:
            self._started = False
            self._engine.stop()
        self._restore()

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

    def _restore(self) -> None:
        if self._before is not None:
            interval, collecting, precedence = self._before
            self._before = None
            precedence.give_back()
            sys.setswitchinterval(interval)
            gc.unfreeze()
            if collecting:
                gc.enable()
