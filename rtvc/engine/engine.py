"""The engine: runs a chain between the input and output of an endpoint, and handles failures."""

from __future__ import annotations

import atexit
import dataclasses
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError, Endpoint
from rtvc.calibration.sizing import Sizing
from rtvc.engine.chain import Chain, Observer, Step
from rtvc.engine.degradation import Degradation
from rtvc.engine.degradation_levels import NOT_DEGRADED, DegradationLevel, make_levels
from rtvc.engine.delivery import Delivery
from rtvc.engine.input_history import InputHistory
from rtvc.engine.step_timer import StepTimer
from rtvc.engine.voice import Voice
from rtvc.engine.worker import Worker
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from rtvc.stats import State, Stats
from rtvc.system.thread_priority import raise_thread_priority

_HISTORY_S = 6.0
"""Seconds of input kept to fill a new chain's context; more than the longest context."""
_MAX_FAILURES = 3
"""Consecutive failed steps after which the engine mutes its output."""
_UNCHANGED = (
    "These settings leave your voice recognisable: change pitch or formant, or choose another "
    "voice or a preset."
)
_started: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """Reads blocks from an endpoint, runs them through a chain and writes the result back.

    After any failure the output is converted audio, concealment or silence. The unconverted
    input is output only if ``Settings.mode`` is ``dry``. While steps are repeatedly late,
    the engine uses cheaper settings than those requested; see `Degradation`.

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
    ) -> None:
        self._endpoint = endpoint
        self._observer = observer
        self._find_voice = find_voice
        self._preload_estimator = preload_estimator
        self._sizing = sizing
        self._requested = settings
        self._voice_kinds: dict[str, str] = {}
        """Voice kind by voice name, for the voices loaded so far."""
        self._levels: tuple[DegradationLevel, ...] = (NOT_DEGRADED,)
        self._levels_for: tuple[object, ...] = ()
        """Shape settings and voice kind that `_levels` was made for."""
        self._degradation = Degradation()
        self._delivery = Delivery(endpoint, ENGINE_RATE)
        self._history = InputHistory(round(_HISTORY_S * ENGINE_RATE))
        self._worker: Worker | None = None
        self._next_worker: Worker | None = None
        self._next_settings = settings
        """Settings that `_next_worker` is built for."""
        self._rejected_shape: tuple[object, ...] | None = None
        """Shape settings for which building a chain failed."""
        self._has_voice = False
        self._stopping = False
        self._failure = ""
        self._failed_settings: Settings | None = None
        self._consecutive_failures = 0
        self._step_timer = StepTimer()
        self._stage_timers: defaultdict[str, StepTimer] = defaultdict(StepTimer)
        self._stats = Stats()

    # Called from any thread.

    @property
    def settings(self) -> Settings:
        """The settings that were applied last."""
        return self._requested

    def apply(self, settings: Settings) -> None:
        """Use these settings from the next block.

        If a shape setting changes, a new chain is built in the background and the current
        one runs until it is ready. Applying the same settings again retries a chain that
        could not be built.
        """
        if settings == self._requested:
            self._rejected_shape = None
        self._requested = settings

    def start(self) -> None:
        """Build the first chain, open the endpoint and start processing.

        Raises
        ------
        RtvcError
            If the voice cannot be loaded or the device cannot be opened.
        """
        _started.add(self)
        worker = self._start_worker(self._effective())
        try:
            worker.ready.wait()
            if worker.error is not None:
                raise worker.error
            assert worker.chain is not None
            self._has_voice = True
            self._endpoint.start(self._delivery.tick, worker.chain.delay)
        except BaseException:
            worker.cancel()
            self._endpoint.stop()
            raise
        self._publish_chain(worker.chain)
        self._worker = worker
        worker.activate(None)

    def stop(self) -> None:
        """Fade out, let the endpoint play the queued output, and close it."""
        self._stopping = True
        if self._next_worker is not None:
            self._next_worker.cancel()
        if self._worker is not None:
            self._worker.join(timeout=5.0)
        self._endpoint.stop()
        self._publish(state=State.STOPPED)

    @property
    def has_voice(self) -> bool:
        """Whether a voice has been loaded; False if `start` failed to load one."""
        return self._has_voice

    @property
    def running(self) -> bool:
        """Whether the engine thread is alive."""
        return self._worker is not None and self._worker.is_alive()

    def stats(self) -> Stats:
        """Return a snapshot of the statistics. Cheap; does not wait for the engine thread."""
        stats = self._stats
        delivery = self._delivery
        state, reason = stats.state, stats.reason
        if state in (State.CONVERTED, State.UNCHANGED, State.DRY, State.MUTED):
            if self._failure:
                state, reason = State.MUTED, self._failure
            elif not self.running and not self._endpoint.finished:
                state, reason = State.MUTED, "The engine thread has ended. Restart the session."
            elif self._endpoint.realtime and delivery.silent:
                late = "The engine is behind; audio resumes shortly."
                state, reason = State.MUTED, f"{reason} {late}".strip()
        if state is State.UNCHANGED:
            reason = reason or _UNCHANGED
        return dataclasses.replace(
            stats,
            state=state,
            reason=reason,
            loading=self._next_worker is not None,
            late_blocks=delivery.late_blocks,
            concealed_s=delivery.concealed / ENGINE_RATE,
            dropped_s=delivery.dropped / ENGINE_RATE,
            step=self._step_timer.read(),
            stages={name: timer.read() for name, timer in list(self._stage_timers.items())},
            device=self._endpoint.health(),
        )

    # Called from the engine thread.

    def _effective(self) -> Settings:
        """Return the settings to use: the requested ones with sizes and degradation applied."""
        requested = self._requested
        # Levels depend on shape settings only, so other changes do not rebuild them.
        shape, kind = requested.shape, self._voice_kinds.get(requested.voice, "")
        if self._endpoint.realtime and self._levels_for != (shape, kind):
            self._levels_for = shape, kind
            self._levels = make_levels(requested, self._sizing, kind)
        return self._degradation.effective(requested, self._levels)

    def _start_worker(self, settings: Settings) -> Worker:
        requested = self._requested
        worker = Worker(lambda: self._build(settings, requested), self._work, self._worker_failed)
        worker.start()
        return worker

    def _build(self, settings: Settings, requested: Settings) -> Chain:
        """Load the voice and build its chain.

        Parameters
        ----------
        settings
            Settings for the chain, derived from `requested` for the voice kind known so far.
        requested
            The requested settings. If loading reveals another voice kind, the sizes that are
            not set explicitly are derived from these again.
        """
        with self._preload_estimator(settings):
            voice = self._find_voice(settings.voice)
            if self._voice_kinds.get(settings.voice) != voice.kind:
                self._voice_kinds[settings.voice] = voice.kind
                if self._endpoint.realtime:
                    requested = requested if requested.voice == settings.voice else settings
                    levels = make_levels(requested, self._sizing, voice.kind)
                    settings = requested.replace(**levels[0].changes)
            return Chain(voice, settings, self._observer)

    def _work(self, previous: Chain | None, chain: Chain) -> None:
        if previous is not None:
            self._catch_up(previous, chain)
        endpoint = self._endpoint
        if endpoint.wall_clock:
            raise_thread_priority()
        while not self._stopping:
            if endpoint.finished:
                return
            settings = self._effective()
            if settings.shape == chain.built_for.shape:
                self._rejected_shape = None
            elif self._switch_chain(chain, settings):
                return
            try:
                available = endpoint.wait(chain.block, 0.1)
            except DeviceLostError as loss:
                self._reconnect(loss)
                continue
            if available >= chain.block:
                # Settings changed while waiting apply to this block.
                latest = self._effective()
                if latest.shape == settings.shape:
                    settings = latest
                chain = self._process_block(chain, settings, available - chain.block)
        self._fade_out(chain)

    def _catch_up(self, previous: Chain, chain: Chain) -> None:
        """Feed recent input to a new chain and change the latency to what it needs."""
        settings = self._effective()
        blocks = self._history.in_blocks(chain.block)
        for block in blocks[:-1]:
            chain.skip(block, settings)
        rendered = np.zeros(0, np.float32)
        if blocks:
            rendered = chain.step(blocks[-1], settings).output
        longer = chain.block + chain.headroom - previous.block - previous.headroom
        if self._endpoint.realtime:
            self._delivery.change_latency(longer, rendered)
        self._publish_chain(chain)

    def _process_block(self, chain: Chain, settings: Settings, surplus: int) -> Chain:
        """Process one block; return the chain for the next block."""
        block = self._endpoint.read(chain.block)
        self._history.push(block)
        if self._endpoint.realtime:
            self._delivery.hold_latency(surplus, chain.headroom)
            if self._delivery.pending_drop >= chain.block:
                chain.skip(block, settings)
                self._delivery.skip(chain.block)
                return chain
        if self._failure and settings is self._failed_settings:
            return chain
        started, endpoint_started = time.perf_counter(), self._endpoint.now()
        try:
            step = chain.step(block, settings)
        except Exception as error:
            return self._recover(chain, error, settings)
        self._failure, self._consecutive_failures = "", 0
        self._step_timer.add(time.perf_counter() - started)
        now = self._endpoint.now()
        if self._endpoint.realtime:
            late = self._delivery.deliver(step.output)
            if step.rendered and chain.built_for.shape == settings.shape:
                self._degradation.record_step(now, now - endpoint_started, late=late)
        else:
            self._endpoint.write(step.output)
        self._publish_step(step, chain.state(settings))
        self._publish_degradation(chain, now)
        return chain

    def _publish_degradation(self, chain: Chain, now: float) -> None:
        """Publish how the settings in use differ from the requested ones."""
        wanted = self._effective().shape
        if chain.built_for.shape == wanted:
            self._publish(
                reason=self._degradation.message(now), degraded=self._degradation.degraded
            )
        elif self._rejected_shape != wanted:
            self._publish(reason="")

    def _publish_step(self, step: Step, state: State) -> None:
        """Publish the results of a step."""
        for name, part in step.stages.items():
            self._stage_timers[name].add(part)
        self._publish(
            state=state,
            blocks=self._stats.blocks + 1,
            repaired_blocks=self._stats.repaired_blocks + step.repaired,
            gate_open=step.gate_open,
            idle=step.idle,
            input_f0_hz=step.input_f0_hz,
            output_f0_hz=step.output_f0_hz,
            input=step.input_level,
            output=step.output_level,
        )

    def _switch_chain(self, chain: Chain, settings: Settings) -> bool:
        """Build a chain for new shape settings; return whether it has replaced this one."""
        if self._rejected_shape == settings.shape:
            return False
        next_worker = self._next_worker
        if next_worker is None:
            next_worker = self._next_worker = self._start_worker(settings)
            self._next_settings = settings
        if not self._endpoint.wall_clock:
            next_worker.ready.wait()
        if not next_worker.ready.is_set():
            return False
        self._next_worker = None
        settings = self._effective()  # loading may have revealed the voice kind
        built_for = (
            self._next_settings if next_worker.chain is None else next_worker.chain.built_for
        )
        if built_for.shape != settings.shape:
            # The settings changed while the chain was built.
            next_worker.cancel()
            return False
        if next_worker.error is not None and self._degradation.level:
            self._degradation.reject_level()
            return False
        if next_worker.error is not None:
            self._rejected_shape = settings.shape
            self._publish(reason=f"{_sentence(next_worker.error)} The previous voice stays in use.")
            return False
        self._rejected_shape = None
        self._worker = next_worker
        next_worker.activate(chain)
        return True

    def _recover(self, chain: Chain, error: Exception, settings: Settings) -> Chain:
        """Return a new chain after a failed step; mute after repeated failures."""
        self._publish(failed_steps=self._stats.failed_steps + 1)
        self._consecutive_failures += 1
        if self._consecutive_failures >= _MAX_FAILURES:
            self._stop_converting(error, settings)
        try:
            fresh = self._build(chain.built_for, chain.built_for)
            for block in self._history.in_blocks(fresh.block):
                fresh.skip(block, settings)
        except Exception as worse:
            self._stop_converting(worse, settings)
            return chain
        return fresh

    def _stop_converting(self, error: BaseException, settings: Settings | None = None) -> None:
        """Mute the output until other settings are applied."""
        self._failed_settings = settings
        self._failure = f"The engine failed: {_sentence(error)} Change any setting to retry."
        self._publish(state=State.MUTED)

    def _worker_failed(self, error: BaseException) -> None:
        """Handle an error that ends a worker's thread."""
        self._failure = _sentence(error)
        if not isinstance(error, RtvcError):
            self._failure = f"The engine has stopped: {self._failure} Restart the session."
        self._publish(state=State.MUTED)

    def _reconnect(self, loss: DeviceLostError) -> None:
        """Wait until a lost device is available again, then restart the output."""
        self._publish(state=State.DEVICE_LOST, reason=str(loss))
        while not self._stopping:
            if self._endpoint.reconnect():
                self._delivery.restart()
                self._publish(state=State.STARTING, reason="")
                return

    def _fade_out(self, chain: Chain) -> None:
        """Fade the last block to silence, to avoid a click."""
        endpoint = self._endpoint
        if not endpoint.realtime or self._failure:
            return
        try:
            ready = endpoint.wait(chain.block, 2 * chain.block / ENGINE_RATE) >= chain.block
        except DeviceLostError:
            return
        if ready:
            muted = self._effective().replace(mode="muted")
            self._delivery.deliver(chain.step(endpoint.read(chain.block), muted).output)

    def _publish_chain(self, chain: Chain) -> None:
        """Publish the voice and the latency of the chain in use."""
        device_in, device_out = self._endpoint.latency
        latency = dataclasses.replace(chain.latency, device_in=device_in, device_out=device_out)
        self._publish(latency=latency, voice=chain.built_for.voice)

    def _publish(self, **changes: object) -> None:
        self._stats = dataclasses.replace(self._stats, **changes)  # type: ignore[arg-type]


def _sentence(error: BaseException) -> str:
    """Return the message of an `RtvcError`, or the type and message of another error."""
    if isinstance(error, RtvcError):
        return str(error)
    return f"{type(error).__name__}: {error}." if str(error) else f"{type(error).__name__}."


@atexit.register
def _stop_engines() -> None:
    """End the threads of engines that were not stopped; `worker` then waits for them."""
    for engine in _started:
        engine._stopping = True
