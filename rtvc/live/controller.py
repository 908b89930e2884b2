"""The live run as the panel controls it: settings and their history, devices, recording."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtvc.calibration.sizing import sizes_at_default
from rtvc.config.remembered import RememberedRun, save_remembered
from rtvc.errors import RtvcError
from rtvc.library.computing import self_test_notice
from rtvc.library.preset_morph import PresetMorph
from rtvc.library.voice_defaults import turned_names
from rtvc.live.background import BackgroundThread
from rtvc.live.devices import DeviceNames, DeviceProvider, DeviceSelection, OpenDevices
from rtvc.live.recorder import Recorder
from rtvc.live.scanner import Scanner
from rtvc.live.undo import Moment, UndoHistory
from rtvc.settings import Settings, changed_names
from rtvc.stats import State, Stats

if TYPE_CHECKING:
    from rtvc.audio.recording import Recording
    from rtvc.calibration.sizing import Sizing
    from rtvc.config.measured_latency import MeasuredLatency
    from rtvc.engine.voice import Voice
    from rtvc.live.device_session import DeviceSession
    from rtvc.live.flight_recorder import FlightRecorder

_FULL_COLLECTION_EVERY = 10
"""Calls of `maintain` between two full garbage collections: widgets outlive the others."""
_CLOSE_LIMIT_S = 6.0
_HUNG_LIMIT_S = 0.6
"""Time after which closing does not wait for a sound system that does not answer, nor for a
session that starts, as while its voice is loaded."""
_LOOK_S = 0.05


class Controller:
    """A session whose devices can be changed while rtvc runs.

    Opening, closing and measuring devices block; they run one at a time on a thread of
    the controller. No method waits for them except `close`. `take_message` returns
    their results and failures.

    Parameters
    ----------
    provider
        Lists and opens devices.
    remembered
        Devices and settings to start with.
    selection
        Devices to start with instead, such as those of a command line.
    find_voice
        Returns the voice of a name; by default the built-in and installed voices.
    sizing
        What was measured on this machine; by default nothing.
    fail_open
        Whether your own voice is output while a failure keeps the engine from converting.
    never_dry
        Whether settings with the mode dry are refused.
    remember
        Whether devices and settings are saved for the next run.
    flight
        Keeps the last minute; None keeps nothing.
    report
        Called with the mode when settings are applied, with "saved" when they are saved, and with
        "closing". It must not block.

    Attributes
    ----------
    recorder, flight
        Records the output; keeps the last minute, None if nothing does.
    scanner
        Lists devices and voices.
    never_dry
        As above. Read only.
    wanted
        The selected devices, by their identities once they are found. Read only.
    """

    def __init__(
        self,
        provider: DeviceProvider,
        remembered: RememberedRun,
        *,
        selection: DeviceSelection | None = None,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
        remember: bool = True,
        flight: FlightRecorder | None = None,
        report: Callable[[str], None] = lambda _: None,
        fail_open: bool = False,
        never_dry: bool = False,
    ) -> None:
        self._provider = provider
        self._find_voice = find_voice
        self._morph = PresetMorph()
        self._sizing = sizing
        self._remember = remember
        self._report_to_guard = report
        self._fail_open = fail_open
        self.never_dry = never_dry
        self._initial = remembered
        self._saved: RememberedRun | None = None
        self._settings = remembered.settings
        self._preset = remembered.preset
        self._chosen = remembered.chosen
        self._history = UndoHistory(check=self._morph.resolve)
        self._favourites: tuple[str, ...] = ()
        self._recording: Recording | None = None
        self._session: DeviceSession | None = None
        self._starting: DeviceSession | None = None
        self.recorder = Recorder(self._attach, remembered.recording)
        self.flight = flight
        self.scanner = Scanner(provider)
        self.wanted = selection or DeviceSelection.of(remembered)
        self._requested: DeviceSelection | None = None
        self._names = DeviceNames()
        self._in_progress = "Starting."
        self._failure = ""
        self._message = ""
        self._closed = False
        self._maintained = 0
        self._lock = threading.Lock()
        """Held to change the settings, the recording, the session or the message."""
        self._keep_lock, self._kept = threading.Lock(), False
        self._thread = BackgroundThread("rtvc controller")

    # Settings and figures.

    def start(self) -> None:
        """Open the devices and start the session, in the background."""
        if self.flight is not None:
            self.flight.watch(self.stats, self._device_names)
        self._submit(self._start)

    @property
    def settings(self) -> Settings:
        """The settings applied last, whether a session runs or not."""
        return self._settings

    @property
    def preset(self) -> str:
        """Name of the preset that the settings began with, "" if there is none."""
        return self._preset

    @property
    def chosen(self) -> frozenset[str]:
        """Names of the sizes that the user set to their default, so that they are not automatic."""
        return self._chosen

    def apply(
        self,
        settings: Settings,
        preset: str | None = None,
        chosen: frozenset[str] | None = None,
    ) -> None:
        """Use other settings from the next block on; `undo` reverts it.

        Parameters
        ----------
        settings
            The settings.
        preset
            Name of the preset that they begin with, "" for none. None keeps the one before,
            unless the voice is another.
        chosen
            Names of the sizes that stay as they are even if they are at their default; others at
            their default are automatic. None: those as before whose value stays.

        Raises
        ------
        RtvcError
            If the mode is dry in a run that never outputs your own voice.
        UsageError
            If the voice cannot morph to what `Settings.morph_to` names.
        """
        if self.never_dry and settings.mode == "dry":
            raise RtvcError("The mode cannot be dry in a run with --never-dry.")
        if preset is None:
            preset = self._preset if settings.voice == self._settings.voice else ""
        if chosen is None:
            chosen = self._chosen - changed_names(self._settings, settings)
        after = Moment(settings, preset, chosen & sizes_at_default(settings))
        if settings.position != self._settings.position:
            self._morph.resolve(settings)
        before = self._moment()
        self._apply(after)
        self._history.note(before, after)

    def keep_ready(self, voices: tuple[str, ...]) -> None:
        """Keep voices loaded and waiting; see `Session.keep_ready`."""
        with self._lock:
            self._favourites = voices
            if self._session is not None:
                self._session.session.keep_ready(voices)

    def undo(self) -> bool:
        """Revert the last change, except of the mode; return whether there was one.

        Raises
        ------
        UsageError
            If the voice can no longer morph to what it did; that step is forgotten.
        """
        return self._apply_past(self._history.undo(self._moment()))

    def redo(self) -> bool:
        """Revert the last undo; return whether there was one. Raises as `undo`."""
        return self._apply_past(self._history.redo(self._moment()))

    def rename_preset(self, old: str, new: str) -> None:
        """Note that a preset that settings began with, or morph to, has another name."""
        self._history.rename_preset(old, new)
        now = self._moment()
        if (after := now.with_renamed_preset(old, new)) != now:
            self._apply(after)

    def stats(self) -> Stats:
        """Return the session's stats; while none runs, the state and its reason."""
        session = self._session
        stats = session.session.stats() if session is not None else Stats()
        if self._in_progress:
            reason = self_test_notice() or self._in_progress
            return dataclasses.replace(stats, state=State.STARTING, reason=reason)
        if self._failure:
            return dataclasses.replace(stats, state=State.DEVICE_LOST, reason=self._failure)
        return stats

    def spectrum(self) -> tuple[float, ...]:
        """Return the level of each band of the output in dBFS; () while no session runs."""
        session = self._session
        return session.endpoint.spectrum() if session is not None else ()

    @property
    def measured(self) -> MeasuredLatency | None:
        """The measured latency of the devices in use, None if it has not been measured."""
        session = self._session
        return session.measured if session is not None else None

    # Devices.

    @property
    def names(self) -> DeviceNames:
        """The devices in use by their full names, all "" before the first start."""
        session = self._session
        if session is not None:
            self._names = session.devices.names_now()
        return self._names

    @property
    def requested(self) -> DeviceSelection:
        """The devices that are being opened, else the selected ones."""
        return self._requested or self.wanted

    def select_devices(self, selection: DeviceSelection) -> None:
        """Change the devices, in the background; if that fails, reopen the previous ones.

        Of several selections in quick succession only the last is opened.
        """
        if not self._closed:
            self._in_progress = "Changing devices."
            self._requested = selection
            self._submit(self._change_devices, selection)

    def check_measurable(self) -> None:
        """Check that the latency of the devices can be measured now.

        Raises
        ------
        RtvcError
            If the output is muted or no devices are running.
        """
        if self._settings.mode == "muted":
            raise RtvcError(
                "The measurement plays chirps, but the output is muted. Unmute it first."
            )
        if self._in_progress or self._failure:
            raise RtvcError(
                "The latency cannot be measured while the devices are not running. "
                "Try again when they are."
            )

    def measure_latency(self) -> None:
        """Measure the latency of the devices with audible chirps, in the background.

        It ends at once when the output is muted, or with `close`.

        Raises
        ------
        RtvcError
            As `check_measurable`.
        """
        self.check_measurable()
        self._in_progress = "Measuring the latency with chirps."
        self._submit(self._measure_latency)

    # Upkeep.

    def take_message(self) -> str:
        """Return what has happened in the background since the last call, "" if nothing."""
        with self._lock:
            message, self._message = self._message, ""
        sources = (self.recorder, self._session, self.scanner, self.flight)
        messages = [source.take_message() for source in sources if source is not None]
        return " ".join(filter(None, (*messages, message)))

    def take_size_message(self) -> str:
        """Return the changes of automatic sizes alone, which `take_message` then leaves out."""
        session = self._session
        return session.session.take_size_message() if session is not None else ""

    def maintain(self) -> None:
        """Collect garbage, scan for voices, and save the settings; call it every few seconds.

        While a session runs the automatic garbage collection is off, because a full
        one stops every thread for long. Objects that existed at the start are exempt
        from it, so the young generations take about a millisecond and a full collection
        a few.
        """
        self._maintained += 1
        gc.collect(2 if self._maintained % _FULL_COLLECTION_EVERY == 0 else 1)
        if self._in_progress or self._closed:
            return
        self.scanner.scan_voices()
        self._submit(self._save)
        if self._failure:
            self._submit(self._retry_devices)

    def close(self) -> None:
        """Fade out, close devices and recording, and save the settings; safe to repeat.

        Blocks until that is done; for less than a second if the sound system hangs, or if the
        session has not started yet.
        """
        if self._closed:
            return
        from rtvc.audio.portaudio_thread import PORTAUDIO

        self._closed = True
        self._report_to_guard("closing")
        self.scanner.close()
        done = self._thread.submit(self._finish)
        self._thread.end()
        began = time.monotonic()
        while not done.wait(_LOOK_S) and time.monotonic() - began < _CLOSE_LIMIT_S:
            late = time.monotonic() - began > _HUNG_LIMIT_S
            if late and (self._starting is not None or not PORTAUDIO.settled(_LOOK_S)):
                break
        self._keep()
        if self.flight is not None:
            self.flight.close()

    def _moment(self) -> Moment:
        return Moment(self._settings, self._preset, self._chosen)

    def _apply_past(self, moment: Moment | None) -> bool:
        if moment is not None:
            self._apply(moment)
        return moment is not None

    def _apply(self, moment: Moment) -> None:
        self._report_to_guard(moment.settings.mode)
        with self._lock:
            # One that starts may output sound before its start returns.
            for session in (self._session, self._starting):
                if session is not None:
                    session.session.choose_sizes(moment.chosen)
                    session.session.apply(moment.settings)
            # Not before: settings that a session refuses are not in use.
            self._settings, self._preset, self._chosen = moment

    def _device_names(self) -> dict[str, str]:
        return self.names._asdict()

    def _attach(self, recording: Recording | None) -> None:
        with self._lock:
            self._recording = recording
            if self._session is not None:
                self._session.endpoint.recording = recording

    def _submit(self, act: Callable[..., object], *args: object) -> None:
        self._thread.submit(self._run, act, *args)

    # On the controller's thread.

    def _run(self, act: Callable[..., object], *args: object) -> None:
        try:
            act(*args)
        except Exception as error:
            self._failure, self._in_progress = _reason(error), ""

    def _start(self) -> None:
        self._open(self.wanted)
        self._in_progress = ""

    def _retry_devices(self) -> None:
        if self._failure and self._session is None:
            self._open(self.wanted)

    def _open(self, selection: DeviceSelection) -> bool:
        try:
            devices = self._provider.open(selection)
            self._play_on(devices)
        except Exception as error:  # whatever it is, the previous devices may still work
            self._failure = _reason(error)
            return False
        self.wanted, self._failure = selection, ""
        self._note_found()
        if devices.note:
            self._report(devices.note)
        return True

    def _play_on(self, devices: OpenDevices) -> None:
        from rtvc.live.device_session import DeviceSession

        session = DeviceSession(
            devices,
            self._settings,
            self._find_voice,
            self._sizing,
            flight=self.flight,
            wait_for_voice=True,
            fail_open=self._fail_open,
        )
        with self._lock:
            self._starting = session
            # They may have changed meanwhile.
            session.session.choose_sizes(self._chosen)
            session.session.apply(self._settings)
        try:
            session.start()
        except BaseException:
            self._starting = None
            raise
        with self._lock:
            self._session, self._starting = session, None
            session.session.keep_ready(self._favourites)
            session.endpoint.recording = self._recording

    def _change_devices(self, selection: DeviceSelection) -> None:
        if selection is not self._requested:
            return
        previous = None if self._failure else self.wanted
        self._stop_session()
        if self._open(selection):
            self._save()
        elif previous is not None and previous != selection:
            failure = self._failure
            self._in_progress = "Reopening the previous devices."
            if self._open(previous):
                self._report(f"{failure} The previous devices are in use again.")
        if selection is self._requested:
            self._requested, self._in_progress = None, ""

    def _measure_latency(self) -> None:
        from rtvc.live.device_latency import measure_devices

        self._stop_session()
        try:
            loop = measure_devices(self._provider.open(self.wanted), ended=self._measurement_ended)
        except RtvcError as error:
            self._report(str(error))
        else:
            self._report(
                f"The devices have a latency of {loop.measured * 1000:.0f} ms; "
                f"they report {loop.reported * 1000:.0f} ms. {' '.join(loop.warnings)}".rstrip()
            )
        if not self._closed:
            self._open(self.wanted)
        self._in_progress = ""

    def _measurement_ended(self) -> str:
        if self._closed:
            return "The latency was not measured, because the run has ended."
        if self._settings.mode == "muted":
            return "The latency was not measured, because you muted the output."
        return ""

    def _stop_session(self) -> None:
        self._note_found()
        with self._lock:
            session, self._session = self._session, None
        if session is None:
            return
        try:
            message = session.stop()
        except RtvcError as error:
            message = str(error)
        if self.flight is not None:
            self.flight.look(session.session.stats())
        message = message or (session.keep_sizes() if self._remember else "")
        if message:
            self._report(message)

    def _note_found(self) -> None:
        """Take the identities of devices that were selected by what was typed."""
        session = self._session
        if session is not None and (found := session.devices.found()):
            self.wanted = found

    def _save(self, *, last: bool = False) -> None:
        """Save devices and settings if they have changed, or as the `last` act of the run.

        Another run may have saved its own meanwhile, and the one that ends last counts.
        """
        self._note_found()
        with self._lock:
            settings, preset, chosen = self._moment()
        remembered = dataclasses.replace(
            self.wanted.remembered(self._initial),
            settings=settings.replace(mode="converted"),
            preset=preset,
            turned=turned_names(settings),
            chosen=chosen,
        )
        if not self._remember or (remembered == self._saved and not last):
            return
        self._saved = remembered
        try:
            save_remembered(remembered)
            self._report_to_guard("saved")
        except RtvcError as error:
            self._report(f"The settings are not saved. {error}")

    def _finish(self) -> None:
        self._in_progress = "Fading out."
        self._stop_session()
        self._keep()

    def _keep(self) -> None:
        """Save the settings and the recording, once."""
        with self._keep_lock:
            kept, self._kept = self._kept, True
        if kept:
            return
        self._save(last=True)
        if self.recorder.files:
            try:
                self._report(self.recorder.stop())
            except RtvcError as error:
                self._report(str(error))

    def _report(self, message: str) -> None:
        with self._lock:
            if message not in self._message:
                self._message = f"{self._message} {message}".strip()


def _reason(error: Exception) -> str:
    if isinstance(error, RtvcError):
        return str(error)
    return f"An unexpected {type(error).__name__} occurred: {error}."
