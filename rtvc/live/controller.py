"""All that a panel holds: the sound, its settings and their past, and the devices."""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.errors import RtvcError, VoiceError
from rtvc.live.device_session import DeviceSession
from rtvc.live.devices import DeviceProvider, DeviceSelection, OpenDevices
from rtvc.live.recorder import Recorder
from rtvc.live.scanner import Scanner
from rtvc.live.undo import UndoHistory
from rtvc.settings import Settings
from rtvc.stats import State, Stats

if TYPE_CHECKING:
    from rtvc.calibration.sizing import Sizing
    from rtvc.engine.voice import Voice

_ALL_EVERY = 10
"""Times to tidy up among which one is thorough: what the panel has drawn outlives the others."""


class Controller:
    """A session whose devices can be exchanged while the program goes on.

    Whatever waits (opening, closing, looking for devices) is done one after the
    other on a thread of its own; no method but `close` waits for it. What went
    wrong there is told once by `take_news`.

    Parameters
    ----------
    provider
        The devices.
    remembered
        What to begin with.
    find_voice
        Gives the voice of a name; by default the built-in and installed ones.
    sizing
        What is known of this machine; by default nothing.
    remember
        Whether devices and settings are kept for the next run.
    stand_in
        Opens what plays instead where the devices cannot be opened at the start;
        it is not what was wanted, so the state stays DEVICE LOST.

    Attributes
    ----------
    recorder
        Records what is played.
    scanner
        Looks for devices and voices.
    """

    def __init__(
        self,
        provider: DeviceProvider,
        remembered: RememberedRun,
        *,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
        remember: bool = True,
        stand_in: Callable[[], OpenDevices] | None = None,
    ) -> None:
        self._remember = remember
        self._stand_in = stand_in
        self._wanted = DeviceSelection(remembered.input, remembered.output, remembered.monitor)
        self._first = remembered
        self._saved: RememberedRun | None = None
        self._history = UndoHistory()
        self._device_session = DeviceSession(provider, remembered.settings, find_voice, sizing)
        self.recorder = Recorder(self._device_session.attach)
        self.scanner = Scanner(provider)
        self._measured_s: float | None = None
        self._doing = "Starting."
        self._failure = ""
        self._voiceless = False
        """Whether the failure is that of the voice; the devices are there."""
        self._news = ""
        self._closed = False
        self._tidied = 0
        self._lock = threading.Lock()
        self._hand = ThreadPoolExecutor(1, "rtvc controller")

    # The sound.

    def start(self) -> None:
        """Open the devices and begin, in the background."""
        self._submit(self._begin)

    @property
    def settings(self) -> Settings:
        """What was applied last."""
        return self._device_session.settings

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next block on; `undo` takes it back."""
        self._history.note(self.settings, settings)
        self._give(settings)

    def undo(self) -> bool:
        """Go back one change, mode excepted; return whether there was one."""
        return self._go(self._history.undo(self.settings))

    def redo(self) -> bool:
        """Take the last undo back; return whether there was one."""
        return self._go(self._history.redo(self.settings))

    def stats(self) -> Stats:
        """Return what is going on, as `Session.stats` does, also while no session runs."""
        stats = self._device_session.stats()
        if self._doing:
            return dataclasses.replace(stats, state=State.STARTING, reason=self._doing)
        if self._failure:
            state = State.MUTED if self._voiceless else State.DEVICE_LOST
            return dataclasses.replace(stats, state=state, reason=self._failure)
        return stats

    def spectrum(self) -> tuple[float, ...]:
        """Return the level in dBFS of each band of what is heard now, the lowest first."""
        return self._device_session.spectrum()

    # The devices.

    @property
    def wanted(self) -> DeviceSelection:
        """The chosen devices by name."""
        return self._wanted

    @property
    def names(self) -> DeviceSelection:
        """The devices in use, all "" before the first start."""
        return self._device_session.names

    @property
    def measured_s(self) -> float | None:
        """Measured delay of the devices in use, both sides; None if nobody has measured it."""
        return self._measured_s

    def use(self, selection: DeviceSelection) -> None:
        """Exchange the devices, in the background; the old ones come back if that fails."""
        if not self._closed:
            self._doing = "Changing the devices."
            self._submit(self._exchange, selection)

    def measure(self) -> None:
        """Measure the delay of the devices with chirps that are heard, in the background.

        Raises
        ------
        RtvcError
            If nothing is to be heard now.
        """
        if self.settings.mode == "muted":
            raise RtvcError("Measuring chirps loudly, and the output is muted; m opens it.")
        if self._doing or self._failure:
            raise RtvcError("Nothing can be measured while the devices do not run.")
        self._doing = "Measuring: three chirps are played."
        self._submit(self._measure)

    # The course of things.

    def take_news(self) -> str:
        """Return what went wrong in the background since the last call, "" if nothing did."""
        with self._lock:
            news, self._news = self._news, ""
        parts = (self.recorder, self._device_session, self.scanner)
        return " ".join(filter(None, (*(part.take_news() for part in parts), news)))

    def tidy(self) -> None:
        """Free memory, look for voices, remember the choices; to be called every few seconds.

        While a session runs nothing else collects garbage: to look at everything would
        stop every thread for long. What was there at its start is left out; of the rest
        the young take about a millisecond, and all of it, now and then, a few.
        """
        self._tidied += 1
        gc.collect(2 if self._tidied % _ALL_EVERY == 0 else 1)
        if self._doing or self._closed:
            return
        self.scanner.look_for_voices()
        self._submit(self._save)
        if self._failure and self._device_session.over:
            self._submit(self._shut)

    def close(self) -> None:
        """Fade out, close the devices, keep recording and choices; waits; safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self._hand.submit(self._end).result()
        self._hand.shutdown()
        self.scanner.close()

    def _go(self, settings: Settings | None) -> bool:
        if settings is not None:
            self._give(settings)
        return settings is not None

    def _give(self, settings: Settings) -> None:
        """Have the session use these; where none began for want of a voice, try once more."""
        other = settings.shape != self.settings.shape
        self._device_session.apply(settings)
        if self._voiceless and other and not self._closed:
            self._submit(self._retry)

    def _submit(self, act: Callable[..., object], *args: object) -> None:
        self._hand.submit(self._do, act, *args)

    # On the background threads.

    def _do(self, act: Callable[..., object], *args: object) -> None:
        try:
            act(*args)
        except Exception as error:
            self._failure, self._doing = _reason(error), ""

    def _begin(self) -> None:
        if not self._open(self._wanted) and self._stand_in is not None:
            try:
                self._device_session.play_on(self._stand_in())
            except VoiceError as error:
                self._voiceless, self._failure = True, _reason(error)
            except RtvcError as error:
                self._tell(str(error))
        self._doing = ""

    def _retry(self) -> None:
        if self._voiceless:
            self._doing = "Loading the voice."
            self._begin()

    def _open(self, selection: DeviceSelection) -> bool:
        try:
            note = self._device_session.open(selection)
        except Exception as error:  # whatever it is, the devices before may still work
            self._voiceless = isinstance(error, VoiceError)
            self._failure = _reason(error)
            return False
        self._wanted, self._failure, self._voiceless = selection, "", False
        if note:
            self._tell(note)
        return True

    def _exchange(self, selection: DeviceSelection) -> None:
        before = None if self._failure else self._wanted
        self._shut()
        self._measured_s = None
        if self._open(selection):
            self._save()
        elif before is not None and before != selection:
            failure = self._failure
            self._doing = "Going back to the devices before."
            if self._open(before):
                self._tell(f"{failure} The devices before are in use.")
        self._doing = ""

    def _measure(self) -> None:
        self._shut()
        try:
            loop = self._device_session.measure(self._wanted)
        except RtvcError as error:
            self._tell(str(error))
        else:
            self._measured_s = loop.measured
            self._tell(
                f"The devices take {loop.measured * 1000:.0f} ms; "
                f"they state {loop.reported * 1000:.0f} ms."
            )
        self._open(self._wanted)
        self._doing = ""

    def _shut(self) -> None:
        try:
            kept = self._device_session.close()
        except RtvcError as error:
            kept = str(error)
        if kept:
            self._tell(kept)

    def _save(self) -> None:
        remembered = dataclasses.replace(
            self._first,
            input=self._wanted.input,
            output=self._wanted.output,
            monitor=self._wanted.monitor,
            settings=self.settings.replace(mode="converted"),
        )
        if not self._remember or remembered == self._saved:
            return
        self._saved = remembered
        try:
            save_remembered(remembered)
        except RtvcError as error:
            self._tell(f"The settings are not remembered: {error}")

    def _end(self) -> None:
        self._doing = "Fading out."
        self._shut()
        self._save()
        if self.recorder.path is not None:
            try:
                self.recorder.finish()
            except RtvcError as error:
                self._tell(str(error))

    def _tell(self, news: str) -> None:
        with self._lock:
            self._news = news


def _reason(error: Exception) -> str:
    if isinstance(error, VoiceError):
        return f"{error} Choose another voice."
    if isinstance(error, RtvcError):
        return str(error)
    return f"An unexpected {type(error).__name__}: {error}."
