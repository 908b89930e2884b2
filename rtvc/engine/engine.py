"""The engine: runs a chain between the input and output of an endpoint, and handles failures."""

from __future__ import annotations

import atexit
import dataclasses
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.calibration.sizing import Sizing
from rtvc.engine.chain import Observer
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.engine_loop import EngineLoop
from rtvc.engine.supervisor import Phase
from rtvc.engine.voice import Voice
from rtvc.engine.voice_bank import FollowVoice
from rtvc.engine.worker import LOAD_LIMIT_S
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.system.abandoned import abandon_thread

_UNCHANGED = (
    "Your voice is recognisable: change pitch or formant, or choose another voice or a preset."
)
_FEEDBACK = "The microphone picks up the speaker, so the output is reduced: wear headphones, "
_WITHOUT_ECHO = "turn the speaker down, or set echo to cancel."
_WITH_ECHO = "or turn the speaker down."
_SOUNDING = State.CONVERTED, State.UNCHANGED, State.DRY, State.MUTED
_JOIN_S = 1.0
"""Time for the engine thread to end; what takes longer hangs."""
_started: weakref.WeakSet[Engine] = weakref.WeakSet()


class StoppedError(RtvcError):
    """A start that another thread has ended by a stop."""

    def __init__(self) -> None:
        super().__init__("The session was stopped while it started.")


class Engine:
    """Reads blocks from an endpoint, runs them through a chain and writes the result back.

    After any failure the output is converted audio, concealment or silence, and the engine
    starts again by itself; see `rtvc.engine.supervisor`. The unconverted input is output only if
    ``Settings.mode`` is ``dry``, or by `fail_open`. While steps are repeatedly late, the engine
    uses cheaper settings than those requested; see `Degradation`.

    Parameters
    ----------
    endpoint
        Audio input and output.
    settings
        Initial settings.
    find_voice
        Returns the voice with a given name, or raises `RtvcError`.
    sizing
        Measured step times of this machine. Used only if the endpoint has deadlines.
    preload_estimator
        Context manager entered around `find_voice`; may load the pitch estimator in parallel.
    observer
        Receives every block of every chain; by default none.
    follow_voice
        Returns the settings after a change to another voice.
    resolve
        Returns the settings that others stand for, such as a position between two presets, or
        raises `RtvcError`.
    wait_for_voice
        Whether to start without output if the voice cannot be loaded, and to load it, or another
        one, as soon as that is possible.
    fail_open
        Whether the unconverted input is output while a failure keeps the engine from
        converting. The state is DRY then.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        find_voice: Callable[[str], Voice],
        sizing: Sizing,
        preload_estimator: Callable[[Settings], AbstractContextManager[object]] = nullcontext,
        *,
        observer: Observer | None = None,
        follow_voice: FollowVoice = lambda settings, voice: settings.replace(voice=voice),
        resolve: Callable[[Settings], Settings] = lambda settings: settings,
        fail_open: bool = False,
        wait_for_voice: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._settings, self._resolve = settings, resolve
        try:
            resolved = resolve(settings)
        except RtvcError:
            if not wait_for_voice:
                raise
            resolved = settings  # loading its voice gives the reason
        self._builder = ChainBuilder(
            endpoint,
            resolved,
            find_voice,
            sizing,
            preload_estimator=preload_estimator,
            observer=observer,
        )
        self._loop = EngineLoop(endpoint, self._builder, follow_voice, fail_open=fail_open)
        self._fail_open = fail_open
        self._thread: threading.Thread | None = None
        self._wait_for_voice = wait_for_voice
        self._stopped = False

    @property
    def settings(self) -> Settings:
        """The settings that were applied last."""
        return self._settings

    def apply(self, settings: Settings) -> None:
        """Use these settings from the next block.

        If a shape setting changes, a new chain is built in the background and the current
        one runs until it is ready. A chain that could not be built is tried again.

        Raises
        ------
        RtvcError
            If the settings cannot be resolved; those before stay in use. Not if they could not be
            before: then there is no voice, and what else has changed is used.
        """
        try:
            resolved = self._resolve(settings)
        except RtvcError:
            if settings.position != self._settings.position:
                raise
            resolved = settings
        if resolved == self._builder.requested:
            self._loop.switch.allow()
        else:
            self._loop.switch.retry()
        self._settings, self._builder.requested = settings, resolved

    def keep_ready(self, voices: tuple[str, ...]) -> None:
        """Keep these voices ready too, as far as the memory of the settings allows."""
        self._loop.bank.keep(voices)

    def resync(self, cause: str) -> None:
        """Replace the chain by a new one with the same settings, in the background.

        Parameters
        ----------
        cause
            Why, as a sentence: the latency is not the stated one. It counts as a restart.
        """
        self._loop.resync(cause)

    def start(self) -> None:
        """Build the first chain, open the endpoint and start processing.

        Raises
        ------
        RtvcError
            If the voice cannot be loaded, or takes longer than `LOAD_LIMIT_S`, or the device cannot
            be opened.
        UsageError
            If the endpoint has no deadlines, and the voice lacks the speaker of the settings.
        """
        _started.add(self)
        worker = self._builder.start(self._builder.effective())
        try:
            error: BaseException | None
            if worker.wait():
                error = worker.error
            else:
                worker.abandon()
                error = RtvcError(f"The voice did not load within {LOAD_LIMIT_S:.0f} s.")
            if self._loop.watchdog.stop_requested:
                raise StoppedError
            if error is not None and not self._wait_for_voice:
                raise error
            if worker.chain is not None and not self._endpoint.realtime:
                worker.chain.check_speaker(self._builder.requested)
            delay = 0 if worker.chain is None or error is not None else worker.chain.delay
            self._endpoint.start(self._loop.heartbeat.tick, delay)
        except BaseException:
            worker.close()
            self._endpoint.stop()
            self._stopped = self._loop.watchdog.stop_requested
            raise
        # Here, so that voice and latency are known when this returns.
        self._loop.begin(worker, error)
        self._thread = threading.Thread(target=self._loop.run, name="rtvc engine", daemon=True)
        self._thread.start()

    def choose_sizes(self, names: frozenset[str]) -> None:
        """Use these sizes as they are requested, also at their default; any thread may call it."""
        self._builder.choose_sizes(names)

    def stop(self) -> None:
        """Fade out, let the endpoint play the queued output, and close it."""
        self._loop.watchdog.request_stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                abandon_thread(self._thread)
        self._endpoint.stop()
        self._stopped = True

    def request_stop(self) -> None:
        """End soon, without waiting."""
        self._loop.watchdog.request_stop()

    def take_message(self) -> str:
        """Return the changes of automatic sizes since the last call, "" if there was none."""
        return self._builder.auto.take_message()

    def learned(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Return automatic block and headroom in ms, where settled, by name and kind of voice."""
        return self._builder.auto.learned()

    @property
    def running(self) -> bool:
        """Whether the engine thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def _behind(self) -> bool:
        """Whether a block is so late that the output is silent."""
        return self._endpoint.realtime and self._loop.delivery.silent

    def stats(self) -> Stats:
        """Return a snapshot of the statistics. Cheap; does not wait for the engine thread."""
        loop, delivery, supervisor = self._loop, self._loop.delivery, self._loop.supervisor
        stats, phase = loop.stats.read(), supervisor.phase
        state, reason = stats.state, stats.reason
        restarting = bool(supervisor.reason) and phase is not Phase.DEVICE_LOST
        if self._stopped:
            state = State.STOPPED
        elif loop.fatal:
            state, reason = State.MUTED, loop.fatal
        elif loop.bypassing:
            state, reason = State.DRY, f"{supervisor.reason} Your own voice is output."
        elif restarting:
            state, reason = State.MUTED, supervisor.reason
        elif phase is Phase.RUNNING and state in _SOUNDING and self._behind:
            late = "The engine is behind; audio resumes shortly."
            state, reason = State.MUTED, f"{reason} {late}".strip()
        if stats.feedback and state in _SOUNDING:
            cancels = self._settings.echo != "off"
            reason = reason or _FEEDBACK + (_WITH_ECHO if cancels else _WITHOUT_ECHO)
        if state is State.UNCHANGED:
            reason = reason or _UNCHANGED
        return dataclasses.replace(
            stats,
            state=state,
            reason=reason,
            restarting=restarting,
            restarts=supervisor.restarts,
            restart_causes=dict(supervisor.causes),
            last_cause=supervisor.last_cause,
            fail_open=self._fail_open,
            sizing=self._builder.auto_state,
            size_changes=self._builder.auto.changes,
            size_reason=self._builder.auto.reason,
            loading=loop.switch.loading,
            ready_voices=loop.bank.memory,
            late_blocks=delivery.late_blocks,
            concealed_s=delivery.concealed / ENGINE_RATE,
            dropped_s=delivery.dropped / ENGINE_RATE,
            device=self._endpoint.health(),
        )


@atexit.register
def _stop_engines() -> None:
    """End the threads of engines that were not stopped."""
    for engine in _started:
        engine.request_stop()
