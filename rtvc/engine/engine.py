"""The engine: endpoint, chain and delivery, and what happens when something goes wrong."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError, Endpoint
from rtvc.calibration.sizing import Sizing
from rtvc.engine.chain import Chain, Step
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
"""More than the longest context."""
_MAX_FAILURES = 3
"""Steps that may fail in a row before the engine stays silent."""


class Engine:
    """Moves sound from an endpoint through a chain and back.

    Whatever fails, what is heard is the converted voice, its concealment, or
    nothing; never the microphone, unless ``Settings.mode`` is ``dry``. Where steps are
    late again and again, it works with less than it was asked for; see `Degradation`.

    Parameters
    ----------
    endpoint
        The microphone and the speaker.
    settings
        To begin with.
    find_voice
        Gives the voice of a name, or raises `RtvcError`.
    sizing
        What is known of the machine; without deadlines it does not matter.
    preload_estimator
        Loads beside `find_voice` what its voice will ask for.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        find_voice: Callable[[str], Voice],
        sizing: Sizing,
        preload_estimator: Callable[[Settings], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._endpoint = endpoint
        self._find_voice = find_voice
        self._preload_estimator = preload_estimator
        self._sizing = sizing
        self._requested = settings
        self._voice_kinds: dict[str, str] = {}
        """Kinds of the voices that have been loaded, by name."""
        self._levels: tuple[DegradationLevel, ...] = (NOT_DEGRADED,)
        self._levels_for: tuple[object, ...] = ()
        """Shape settings and kind of voice that the levels were made for."""
        self._degradation = Degradation()
        self._delivery = Delivery(endpoint, ENGINE_RATE)
        self._history = InputHistory(round(_HISTORY_S * ENGINE_RATE))
        self._worker: Worker | None = None
        self._next_worker: Worker | None = None
        self._next_settings = settings
        """What the successor is built for."""
        self._rejected_shape: tuple[object, ...] | None = None
        """Shape settings that no chain could be made for."""
        self._has_voice = False
        self._stopping = False
        self._failure = ""
        self._failed_settings: Settings | None = None
        self._consecutive_failures = 0
        self._step_timer = StepTimer()
        self._stage_timers: defaultdict[str, StepTimer] = defaultdict(StepTimer)
        self._stats = Stats()

    # For the front.

    @property
    def settings(self) -> Settings:
        """What was applied last."""
        return self._requested

    def apply(self, settings: Settings) -> None:
        """Use these settings from the next block on.

        A change of shape settings is heard once a new chain is ready; until then
        the old one plays on. The same settings once more are another try where a
        chain could not be built.
        """
        if settings == self._requested:
            self._rejected_shape = None
        self._requested = settings

    def start(self) -> None:
        """Build the first chain, open the endpoint, and begin.

        Raises
        ------
        RtvcError
            If the voice cannot be loaded or the device cannot be opened.
        """
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
        """Fade out, let the endpoint play what is queued, and close it."""
        self._stopping = True
        if self._next_worker is not None:
            self._next_worker.cancel()
        if self._worker is not None:
            self._worker.join(timeout=5.0)
        self._endpoint.stop()
        self._publish(state=State.STOPPED)

    @property
    def has_voice(self) -> bool:
        """Whether a voice has been loaded: not where the start failed for want of it."""
        return self._has_voice

    @property
    def running(self) -> bool:
        """Whether the engine's thread is alive."""
        return self._worker is not None and self._worker.is_alive()

    def stats(self) -> Stats:
        """Return a snapshot; cheap, and never waits for the engine."""
        stats = self._stats
        delivery = self._delivery
        state, reason = stats.state, stats.reason
        if state in (State.CONVERTED, State.DRY, State.MUTED):
            if self._failure:
                state, reason = State.MUTED, self._failure
            elif not self.running and not self._endpoint.finished:
                state, reason = State.MUTED, "The engine's thread has ended; start it again."
            elif self._endpoint.realtime and delivery.silent:
                late = "The engine is late; its sound will be back."
                state, reason = State.MUTED, f"{reason} {late}".strip()
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

    # On the engine's thread.

    def _effective(self) -> Settings:
        """Return the settings to use, in place of those that were asked for."""
        requested = self._requested
        # Other levels are made only for another shape, not for every change of a setting.
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
        """Load the voice and make its chain.

        Parameters
        ----------
        settings
            What to make it for, if the voice is of the kind that they were derived for.
        requested
            What they were derived from: sizes that nobody chose depend on the kind of voice,
            which is known only once it is loaded.
        """
        with self._preload_estimator(settings):
            voice = self._find_voice(settings.voice)
            if self._voice_kinds.get(settings.voice) != voice.kind:
                self._voice_kinds[settings.voice] = voice.kind
                if self._endpoint.realtime:
                    requested = requested if requested.voice == settings.voice else settings
                    levels = make_levels(requested, self._sizing, voice.kind)
                    settings = requested.replace(**levels[0].changes)
            return Chain(voice, settings)

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
                # What was turned while the block came in counts from this block on.
                latest = self._effective()
                if latest.shape == settings.shape:
                    settings = latest
                chain = self._process_block(chain, settings, available - chain.block)
        self._fade_out(chain)

    def _catch_up(self, previous: Chain, chain: Chain) -> None:
        """Bring a new chain to the present, and the latency to what it needs."""
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
        """Take one block through the chain; return the chain to go on with."""
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
        self._publish_step(step, State(settings.mode))
        self._publish_degradation(chain, now)
        return chain

    def _publish_degradation(self, chain: Chain, now: float) -> None:
        """Publish what is different from what was asked for, once it is in use."""
        wanted = self._effective().shape
        if chain.built_for.shape == wanted:
            self._publish(
                reason=self._degradation.message(now), degraded=self._degradation.degraded
            )
        elif self._rejected_shape != wanted:
            self._publish(reason="")

    def _publish_step(self, step: Step, state: State) -> None:
        """Publish what a step found."""
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
        """Have a chain built for new shape settings; return whether it has taken over."""
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
        settings = self._effective()  # the kind of the voice may have become known meanwhile
        built_for = (
            self._next_settings if next_worker.chain is None else next_worker.chain.built_for
        )
        if built_for.shape != settings.shape:
            # The settings have moved on while it was built.
            next_worker.cancel()
            return False
        if next_worker.error is not None and self._degradation.level:
            self._degradation.reject_level()
            return False
        if next_worker.error is not None:
            self._rejected_shape = settings.shape
            self._publish(reason=f"{_sentence(next_worker.error)} The voice before plays on.")
            return False
        self._rejected_shape = None
        self._worker = next_worker
        next_worker.activate(chain)
        return True

    def _recover(self, chain: Chain, error: Exception, settings: Settings) -> Chain:
        """Go on after a failed step with a fresh chain or, if that does not help, in silence."""
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
        """Stay silent until other settings are applied."""
        self._failed_settings = settings
        self._failure = f"The engine failed: {_sentence(error)} Change a setting to try again."
        self._publish(state=State.MUTED)

    def _worker_failed(self, error: BaseException) -> None:
        """Hear that a worker's thread is going down."""
        self._failure = _sentence(error)
        if not isinstance(error, RtvcError):
            self._failure = f"The engine has stopped: {self._failure} Start it again."
        self._publish(state=State.MUTED)

    def _reconnect(self, loss: DeviceLostError) -> None:
        """Wait for a lost device, and begin afresh when it is back."""
        self._publish(state=State.DEVICE_LOST, reason=str(loss))
        while not self._stopping:
            if self._endpoint.reconnect():
                self._delivery.restart()
                self._publish(state=State.STARTING, reason="")
                return

    def _fade_out(self, chain: Chain) -> None:
        """Let the last block end in silence instead of a step."""
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
        """Tell what is heard from now on, and how late."""
        device_in, device_out = self._endpoint.latency
        latency = dataclasses.replace(chain.latency, device_in=device_in, device_out=device_out)
        self._publish(latency=latency, voice=chain.built_for.voice)

    def _publish(self, **changes: object) -> None:
        self._stats = dataclasses.replace(self._stats, **changes)  # type: ignore[arg-type]


def _sentence(error: BaseException) -> str:
    """Return an error as a sentence: its own, or its name and what it says."""
    if isinstance(error, RtvcError):
        return str(error)
    return f"{type(error).__name__}: {error}." if str(error) else f"{type(error).__name__}."
