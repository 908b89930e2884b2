"""A session: an endpoint and the engine that processes its audio."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any

from rtvc.audio.echo_canceller import require_canceller
from rtvc.audio.echo_endpoint import EchoEndpoint, find_echo
from rtvc.audio.endpoint import Endpoint
from rtvc.audio.latency_watch import LatencyWatch
from rtvc.audio.tee import TeeEndpoint
from rtvc.calibration.conditions import conditions
from rtvc.calibration.profiles import DEFAULT_PROFILE, PROFILES, SIZES
from rtvc.calibration.sizing import Sizing
from rtvc.calibration.timing import measured_here
from rtvc.config.calibration_yaml import load_calibration
from rtvc.device_choice import MIX, ChannelChoice, check_channel
from rtvc.engine.chain import Observer
from rtvc.engine.engine import Engine, StoppedError
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError, UsageError
from rtvc.library import open_voice
from rtvc.library.preset_morph import PresetMorph
from rtvc.library.voice_defaults import follow_voice
from rtvc.settings import Settings, combine_settings
from rtvc.stats import State, Stats
from rtvc.system.realtime_mode import realtime_mode

_running: set[Session] = set()
"""Sessions that run: one that nothing else refers to still has its devices open."""
_SILENT = (State.STARTING, State.MUTED, State.DEVICE_LOST, State.STOPPED)


class Session:
    """An audio input, an audio output, and the engine between them.

    Use `Session.live` for a microphone and a speaker. A session starts once: with `start`,
    or as a context, which also stops it.

    Parameters
    ----------
    endpoint
        The input and output: devices, simulated devices, or sound files.
    settings
        Initial settings; by default all at their defaults.
    find_voice
        Returns the voice for a name. The default finds all values that `Settings.voice`
        accepts: the built-in voice, installed voices, and paths of files and folders.
    sizing
        Step times measured on this machine, which determine the sizes that are not set. Without
        it they are at their defaults.
    hint
        Returns a sentence about the devices, such as a probable problem, or "". In `stats` it
        follows the engine's reason.
    observer
        Receives every block that the engine processes; by default none.
    fail_open
        Whether the unconverted input is output, as state DRY, while a failure keeps the engine
        from converting.
    wait_for_voice
        Whether `start` succeeds without the voice: the output is muted until it, or another one,
        can be loaded. By default `start` raises.

    Examples
    --------
    >>> with rtvc.Session.live(settings=rtvc.Settings(pitch=4)) as session:
    ...     time.sleep(10)
    ...     session.apply(pitch=-4)
    ...     print(session.stats().latency.total)
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings | None = None,
        find_voice: Callable[[str], Voice] | None = None,
        sizing: Sizing | None = None,
        hint: Callable[[], str] = lambda: "",
        *,
        observer: Observer | None = None,
        fail_open: bool = False,
        wait_for_voice: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self._engine = Engine(
            endpoint,
            combine_settings(settings, {}),
            find_voice or open_voice.find_voice,
            sizing or Sizing(),
            nullcontext if find_voice else open_voice.preload_estimator,
            observer=observer,
            follow_voice=follow_voice,
            resolve=PresetMorph().resolve,
            fail_open=fail_open,
            wait_for_voice=wait_for_voice,
        )
        self._hint = hint
        self._echo = find_echo(endpoint)
        self._wait_for_voice = wait_for_voice
        self._watch: LatencyWatch | None = None
        if isinstance(endpoint, TeeEndpoint) and endpoint.realtime:
            self._watch = LatencyWatch(
                endpoint.delay_monitor, self._stated_latency, self._engine.resync
            )
        self._held = ExitStack()
        self._begun = self._running = self._stopping = False
        self._applying = threading.RLock()
        """Held from reading the settings until the changed ones are in use."""
        self._set_monitor_gain()

    def __repr__(self) -> str:
        return f"<Session, voice {self.settings.voice!r}, {self._engine.stats().state}>"

    @classmethod
    def live(
        cls,
        *,
        input: str | int | None = None,
        output: str | int | None = None,
        input_channel: ChannelChoice = MIX,
        monitor: str | int | None = None,
        settings: Settings | None = None,
        profile: str = DEFAULT_PROFILE,
    ) -> Session:
        """Return a session from a microphone to a speaker, not started.

        No device is opened before `start`. The settings that ``rtvc run`` remembers are not
        used, and nothing is remembered.

        Parameters
        ----------
        input, output
            Input and output device: name, part of a name or number, as in ``rtvc devices``.
            The defaults are the system's default devices.
        input_channel
            The channel of the input device: its number from 1, ``"loudest"``, or ``"mix"`` for
            the mean of the first two that have sound.
        monitor
            A second output device to listen to yourself; by default none.
        settings
            The settings to start with; by default all are at their defaults.
        profile
            ``"quality"``, ``"balanced"`` or ``"fast"``. It decides the context where that is at
            its default, and block and headroom too where ``rtvc calibrate`` has measured this
            machine or they settle.

        Raises
        ------
        UsageError
            If there is no such device, channel or profile, or a name matches more than one device.
        RtvcError
            If this machine has no input or no output device.
        """
        from rtvc.audio.device_search import find_device
        from rtvc.audio.live import LiveEndpoint
        from rtvc.audio.monitor import find_monitor, open_monitor

        if profile not in tuple(PROFILES):
            raise UsageError(f"There is no profile {profile!r}. Choose {_either(PROFILES)}.")
        microphone = find_device(input, "input")
        check_channel(input_channel, microphone.inputs, repr(microphone.name))
        speaker = find_device(output, "output")
        live = LiveEndpoint(input, output, input_channel=input_channel)
        own = None
        if monitor is not None:
            _, identity = find_monitor(monitor, speaker)
            own = open_monitor(identity, lambda: live.devices and live.devices[1])
        timings = load_calibration()[0]
        here = measured_here(timings, conditions()) if timings else {}
        sizing = Sizing(here, PROFILES[profile])
        endpoint = TeeEndpoint(EchoEndpoint(live), own)
        return cls(endpoint, settings, sizing=sizing, hint=lambda: live.hint)

    @property
    def settings(self) -> Settings:
        """The settings that were applied last."""
        return self._engine.settings

    def start(self) -> None:
        """Load the voice, open the devices and start; the first block follows.

        The session runs until `stop`, or the end of the program. If this raises, no device is
        left open. It can be called once.

        Raises
        ------
        RtvcError
            If the voice cannot be loaded, the device cannot be opened, the session has been
            started before, or another thread stops it meanwhile.
        """
        if self._begun:
            raise RtvcError("A session starts only once. Make another one.")
        if self._echo is not None and not self._wait_for_voice:
            require_canceller(self.settings.echo)
        self._begun = True
        self._use_echo()
        if self.endpoint.wall_clock:
            self._held.enter_context(realtime_mode())
        try:
            self._engine.start()
        except BaseException:
            self._held.close()
            raise
        self._running = True
        _running.add(self)
        if self._watch is not None and isinstance(self.endpoint, TeeEndpoint):
            if self.endpoint.wall_clock:
                self._watch.start()
            else:  # its clock stands still meanwhile
                self.endpoint.on_block = self._watch.check
        if self._stopping:
            self.stop()
            raise StoppedError

    def apply(self, settings: Settings | None = None, **changes: Any) -> None:
        """Use other settings from the next block on.

        Another voice or block takes effect once it is loaded; until then the current one
        keeps playing. Any thread may call this. Before `start` they are the settings to start
        with; after `stop` nothing uses them.

        Parameters
        ----------
        settings
            All settings; by default those that were applied last.
        **changes
            Single settings to change, such as ``pitch=-4``.

        Raises
        ------
        SettingError
            For an unknown name, a value out of range, or a setting that is given both ways.
        UsageError
            If the voice cannot morph to `Settings.morph_to`.
        """
        with self._applying:
            if settings is None:
                self._engine.apply(self.settings.replace(**changes))
            else:
                self._engine.apply(combine_settings(settings, changes))
            self._set_monitor_gain()
            if self._begun:
                self._use_echo()

    def choose_sizes(self, names: Iterable[str]) -> None:
        """Leave sizes as they are in the settings, also those at their default.

        Sizes at another value stay as they are anyway. Any thread may call this.

        Parameters
        ----------
        names
            Any of ``"block"``, ``"headroom"`` and ``"context"``; they replace those of the last
            call, and `Sizing.chosen`.

        Raises
        ------
        UsageError
            If they are no such names.
        """
        listed = tuple(names) if isinstance(names, Iterable) else (names,)
        for name in listed:
            if name not in SIZES:
                raise UsageError(f"There is no size {name!r}. Choose {_either(SIZES)}.")
        self._engine.choose_sizes(frozenset(listed))

    def keep_ready(self, voices: Iterable[str]) -> None:
        """Keep voices loaded and waiting, so that a change to one of them is heard at once.

        Their weights must fit ``Settings.ready_memory``, which is 0 by default; `stats` lists the
        voices that are ready. Voices that were in use are kept too, before these. Any thread may
        call this.

        Parameters
        ----------
        voices
            Names of voices, the most important one first; they replace those of the last call.

        Raises
        ------
        UsageError
            If they are not names in a list or the like.
        """
        listed = isinstance(voices, Iterable) and not isinstance(voices, str)
        names = tuple(voices) if listed else ()
        if not listed or not all(isinstance(name, str) for name in names):
            raise UsageError(f"The voices are {voices!r}. Give a list of names, such as ['Anna'].")
        self._engine.keep_ready(names)

    def stats(self) -> Stats:
        """Return a snapshot of levels, latency, times and state; it never waits."""
        stats = self._engine.stats()
        if self._watch is not None:
            stats = dataclasses.replace(
                stats,
                estimated_latency=self._watch.estimate,
                latency_faults=self._watch.faults,
            )
        problem = ""
        if self._echo is not None:
            problem = self._echo.problem
            if delay_s := self._echo.delay_s:
                latency = dataclasses.replace(stats.latency, echo=delay_s)
                # The estimate begins behind the cancellation.
                estimate = stats.estimated_latency
                estimate = None if estimate is None else estimate + delay_s
                stats = dataclasses.replace(stats, latency=latency, estimated_latency=estimate)
        reason = " ".join(filter(None, (stats.reason, problem, self._hint())))
        return stats if reason == stats.reason else dataclasses.replace(stats, reason=reason)

    def take_message(self) -> str:
        """Return what the session has corrected or changed since the last call, "" if nothing."""
        watched = self._watch.take_message() if self._watch is not None else ""
        return " ".join(filter(None, (watched, self.take_size_message())))

    def take_size_message(self) -> str:
        """Return the changes of automatic sizes since the last call, "" if there was none."""
        return self._engine.take_message()

    def learned_sizes(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Return block and headroom in ms by name and kind of the voice.

        They are those on which ``latency`` ``auto`` has settled.
        """
        return self._engine.learned()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the input or the engine has ended; return whether it has.

        A session that is not started does not run, so this returns True.

        Parameters
        ----------
        timeout
            Maximum time in seconds; by default unlimited. Input from devices does not end.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self._engine.running:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """Fade out, play the queued output and close the endpoint; safe to repeat.

        While another thread is in `start`, that raises as soon as it can.
        """
        if self._begun and not self._running:
            self._stopping = True
            self._engine.request_stop()
        if self._running:
            self._running = False
            if self._watch is not None:
                self._watch.stop()
            self._engine.stop()
            _running.discard(self)
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

    def _stated_latency(self) -> float:
        """Return the stated latency without the devices in seconds, 0 while nothing plays."""
        stats = self._engine.stats()
        if stats.state in _SILENT or stats.loading or stats.restarting:
            return 0.0
        latency = stats.latency
        # Rounded, since the devices' part may change while the engine's does not.
        return round(latency.total - latency.device_in - latency.device_out, 6)

    def _use_echo(self) -> None:
        if self._echo is not None:
            self._echo.use(self.settings.echo)

    def _set_monitor_gain(self) -> None:
        if isinstance(self.endpoint, TeeEndpoint) and self.endpoint.monitor is not None:
            self.endpoint.monitor.gain_db = self.settings.monitor_gain


def _either(words: Iterable[str]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}"
